// SPDX-License-Identifier: Apache-2.0
// Populated ext4 images of many feature sets, for tests of the consistency check.
#pragma once

#include <string>
#include <vector>

#include "ext4_tools.h"

namespace plugpull::ext4 {

struct NamedImage {
  std::string name;
  Image image;
  // An earlier state of the same file system; consistent as well.
  Image earlier;
};

// The names of all recipes, in a fixed order.
std::vector<std::string> ConsistencyRecipes();
// Makes one; fails the test when a tool does.
NamedImage MakeConsistencyImage(const std::string& recipe);

}  // namespace plugpull::ext4
