// SPDX-License-Identifier: Apache-2.0
#include "consistency_images.h"

#include <fmt/format.h>

#include <map>

namespace plugpull::ext4 {
namespace {

struct Recipe {
  std::string features;
  std::string block_bytes = "1024";
  size_t mib = 20;
  std::vector<std::string> more = {"-J", "size=1"};
  std::string inodes = "2048";
};

constexpr char kPlain[] =
    "none,has_journal,ext_attr,dir_index,filetype,extent,flex_bg,sparse_super,large_file,"
    "huge_file,dir_nlink,extra_isize";

std::string With(const std::string& features) { return std::string(kPlain) + "," + features; }

const std::map<std::string, Recipe>& Recipes() {
  static const std::map<std::string, Recipe> recipes = {
      {"default_1k", {With("64bit,metadata_csum,resize_inode")}},
      {"default_4k",
       {With("64bit,metadata_csum,resize_inode"), "4096", 24, {"-J", "size=4", "-g", "2048"}}},
      {"block_2k", {With("metadata_csum"), "2048", 20, {"-J", "size=2", "-g", "4096"}}},
      {"no_checksums", {With("64bit,resize_inode")}},
      {"group_checksums", {With("uninit_bg,resize_inode")}},
      {"group_checksums_64bit", {With("64bit,uninit_bg")}},
      {"narrow_descriptors", {With("metadata_csum")}},
      {"indirect_1k",
       {"none,has_journal,ext_attr,dir_index,filetype,sparse_super,large_file,resize_inode"}},
      {"indirect_checksums",
       {"none,has_journal,ext_attr,dir_index,filetype,sparse_super,large_file,metadata_csum,"
        "extra_isize"}},
      {"no_flex_bg",
       {"none,has_journal,ext_attr,dir_index,filetype,extent,sparse_super,large_file,huge_file,"
        "extra_isize,metadata_csum,64bit"}},
      {"sparse_super2", {With("64bit,metadata_csum,sparse_super2")}},
      {"all_supers",
       {"none,has_journal,ext_attr,dir_index,filetype,extent,flex_bg,large_file,metadata_csum"}},
      {"small_inodes", {With("metadata_csum"), "1024", 20, {"-J", "size=1", "-I", "128"}}},
      {"no_file_types", {"none,has_journal,ext_attr,dir_index,extent,sparse_super,metadata_csum"}},
      {"no_journal",
       {"none,ext_attr,dir_index,filetype,extent,sparse_super,metadata_csum,64bit",
        "1024",
        20,
        {}}},
      {"checksum_seed", {With("64bit,metadata_csum,metadata_csum_seed")}},
      {"orphan_file", {With("64bit,metadata_csum,orphan_file")}},
      {"no_dir_index", {"none,has_journal,ext_attr,filetype,extent,sparse_super,metadata_csum"}},
      {"many_groups",
       {With("64bit,metadata_csum,resize_inode"), "1024", 20, {"-J", "size=1", "-g", "512"}}},
      {"lazy", {With("64bit,metadata_csum,resize_inode"), "1024", 60}},
  };
  return recipes;
}

Image Format(const Recipe& recipe) {
  Image image(recipe.mib << 20);
  std::vector<std::string> arguments = {"-q",
                                        "-F",
                                        "-t",
                                        "ext4",
                                        "-b",
                                        recipe.block_bytes,
                                        "-N",
                                        recipe.inodes,
                                        "-O",
                                        recipe.features,
                                        "-U",
                                        "11111111-2222-3333-4444-555555555555",
                                        "-E",
                                        "hash_seed=66666666-7777-8888-9999-aaaaaaaaaaaa,nodiscard,"
                                        "root_owner=0:0"};
  arguments.insert(arguments.end(), recipe.more.begin(), recipe.more.end());
  arguments.push_back("@image");
  const ToolEnd made = RunTool("mkfs.ext4", arguments, image);
  EXPECT_EQ(made.status, 0) << made.out;
  return image;
}

std::vector<std::string> FirstFiles() {
  std::vector<std::string> commands = {"mkdir d", "mkdir d/e", "mkdir d/e/f"};
  for (int i = 0; i < 12; ++i) commands.push_back(fmt::format("write @input d/file{}", i));
  // Holes make an extent tree of some depth, or indirect blocks with gaps.
  for (int i = 0; i < 40; i += 2) commands.push_back(fmt::format("punch d/file0 {} {}", i, i));
  for (int i = 1; i < 60; i += 3) commands.push_back(fmt::format("punch d/file1 {} {}", i, i));
  commands.insert(commands.end(),
                  {"symlink d/short target", "symlink d/long " + std::string(90, 'x'),
                   "mknod d/pipe p", "mknod d/block b 7 1", "mknod d/char c 5 300"});
  return commands;
}

std::vector<std::string> LaterFiles(bool extents) {
  std::vector<std::string> commands = {"rm d/file3",
                                       "ln d/file4 d/hard",
                                       "sif d/file4 links_count 2",
                                       "mkdir many",
                                       "ea_set d/file5 user.small value",
                                       "ea_set d/file6 user.large " + std::string(400, 'v'),
                                       "ea_set d/file7 user.a " + std::string(300, 'a'),
                                       "ea_set d/file7 user.b " + std::string(200, 'b')};
  for (int i = 0; i < 160; ++i) {
    commands.push_back(fmt::format("mknod many/a_rather_long_name_of_an_entry_{:04} p", i * 7919));
  }
  if (extents) commands.push_back("fallocate d/file8 200 260");
  return commands;
}

}  // namespace

std::vector<std::string> ConsistencyRecipes() {
  std::vector<std::string> names;
  for (const auto& [name, recipe] : Recipes()) names.push_back(name);
  return names;
}

NamedImage MakeConsistencyImage(const std::string& name) {
  const Recipe& recipe = Recipes().at(name);
  NamedImage made{name, Format(recipe), {}};
  std::string content;
  for (int i = 0; i < 9000; ++i) content += fmt::format("{:08x}", i * 2654435761U);
  Debugfs(made.image, FirstFiles(), content);
  made.earlier = made.image;
  Debugfs(made.image, LaterFiles(recipe.features.find("extent") != std::string::npos), content);
  // Two files share an attribute block, directories get an index, and small mistakes of debugfs
  // are put right.
  for (Image* image : {&made.earlier, &made.image}) {
    const ToolEnd repaired = E2fsck(*image, {"-fyD"});
    EXPECT_TRUE(repaired.status == 0 || repaired.status == 1) << repaired.out;
  }
  return made;
}

}  // namespace plugpull::ext4
