// SPDX-License-Identifier: Apache-2.0
// Makes the images and the first inputs of the fuzzers' corpus.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace plugpull::fuzz {

using NamedBytes = std::pair<std::string, std::vector<uint8_t>>;

// Small file systems, some of them with transactions in the journal (tests/fuzz/hostile_image.h).
std::vector<NamedBytes> MakeBaseImages();

struct Seed {
  std::string target;
  std::string name;
  std::vector<uint8_t> bytes;
};
// For `images` base images.
std::vector<Seed> MakeSeeds(size_t images);

}  // namespace plugpull::fuzz
