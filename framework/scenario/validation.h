// SPDX-License-Identifier: Apache-2.0
// The parts of ValidateInto; for this folder only.
#pragma once

#include <google/protobuf/repeated_field.h>

#include <map>
#include <string>
#include <vector>

#include "framework/proto/scenario.pb.h"
#include "framework/scenario/diagnostic.h"

namespace plugpull::scenario {

// What all parts need to know.
struct Validation {
  const Scenario& scenario;
  const SourceNode& source;
  Reporter& reporter;
  std::vector<std::string> disks = {};      // declared, in order
  std::vector<std::string> log_disks = {};  // those with a log_writes layer
  // False: a disk's name, or something of a disk, was not understood, so a reference may be right.
  bool disk_names_known = true;
  bool disks_known = true;
};

// The place of a field that is set; of nothing for one that is not.
const SourceNode& Sub(const SourceNode& parent, int field, int index = 0);

// Diagnoses a disk that is not declared.
void CheckDiskName(const Validation& v, const std::string& disk, const SourceLocation& at);
// Diagnoses a disk that is not declared, or has no log; `why` ends the sentence.
void CheckLogDisk(const Validation& v, const std::string& disk, const SourceLocation& at,
                  const std::string& why);
void CheckModel(const Model& model, const SourceNode& source, Reporter& reporter);
void CheckExpect(const Validation& v, const Expect& expect, const SourceNode& source);

// One option of a mount and where it is written.
struct PlacedOption {
  std::string option;
  SourceLocation at;
};
// The options of a repeated field, split at commas; mistakes of single ones go to `reporter`, and
// only the good ones are returned, each once.
std::vector<PlacedOption> PlaceMountOptions(
    const google::protobuf::RepeatedPtrField<std::string>& options, const SourceNode& source,
    int field, Reporter& reporter);
// Diagnoses, at its place in `second`, each option that contradicts one of `first`.
void CheckMountConflicts(const std::vector<PlacedOption>& first,
                         const std::vector<PlacedOption>& second, Reporter& reporter);

// Words for mkfs: none is empty.
void CheckMkfsOptions(const google::protobuf::RepeatedPtrField<std::string>& options,
                      const SourceNode& source, int field, Reporter& reporter);

// Diagnoses the second of two equal names. `what` is "disk", "variant".
class UniqueNames {
 public:
  UniqueNames(std::string what, Reporter& reporter) : what_(std::move(what)), reporter_(reporter) {}
  void Add(const std::string& name, const SourceLocation& at);

 private:
  std::string what_;
  Reporter& reporter_;
  std::map<std::string, SourceLocation> seen_;
};

// validate_corrupt.cc: a corrupt step by itself, without its place among the others.
void CheckCorrupt(const Validation& v, const CorruptStep& step, const SourceNode& node);

// validate_fill.cc: poisoned disks, and the oracle that needs one.
void CheckFills(const Validation& v);
// What a variant or an axis value adds to the mkfs of poisoned disks.
void CheckFillSettings(const Validation& v, const Settings& settings, const SourceNode& source);

// The names of all errnos.
std::vector<std::string> ErrnoNames();
// Of a field that is one.
void CheckErrno(const char* field, const std::string& name, const SourceLocation& at,
                Reporter& reporter);

void CheckFaults(const Validation& v);     // validate_faults.cc: layers and steps that fail
void CheckPowerCuts(const Validation& v);  // validate_power_cut.cc
void CheckSteps(const Validation& v);      // validate_steps.cc
void CheckMatrix(const Validation& v);     // validate_matrix.cc: variants, axes, cells
// validate_agents.cc: agents, their steps and contract.
bool IsAgentProperty(FindingClass found);
void CheckAgentExpected(const Validation& v, FindingClass found, const SourceLocation& at);
void CheckAgents(const Validation& v);

}  // namespace plugpull::scenario
