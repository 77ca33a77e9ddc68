// SPDX-License-Identifier: Apache-2.0
#include "framework/cli/commands.h"

int main(int argc, char** argv) { return plugpull::cli::Main(argc, argv); }
