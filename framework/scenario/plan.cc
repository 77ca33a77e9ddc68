// SPDX-License-Identifier: Apache-2.0
#include "framework/scenario/plan.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <set>

#include "framework/base/prng.h"
#include "framework/scenario/validate.h"
#include "framework/scenario/words.h"

namespace plugpull::scenario {

namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;

bool HasLog(const Disk& disk) {
  return std::any_of(disk.layer().begin(), disk.layer().end(),
                     [](const Layer& layer) { return layer.has_log_writes(); });
}

bool DropsBarriers(const Disk& disk) {
  return std::any_of(disk.layer().begin(), disk.layer().end(),
                     [](const Layer& layer) { return layer.has_drop_barriers(); });
}

// Sets every field that has a default and is not set, here and in all messages that are there.
void FillDefaults(Message& message) {
  const auto* reflection = message.GetReflection();
  const auto* descriptor = message.GetDescriptor();
  for (int i = 0; i < descriptor->field_count(); ++i) {
    const FieldDescriptor* field = descriptor->field(i);
    if (field->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE) {
      if (field->is_repeated()) {
        for (int k = 0; k < reflection->FieldSize(message, field); ++k) {
          FillDefaults(*reflection->MutableRepeatedMessage(&message, field, k));
        }
      } else if (reflection->HasField(message, field)) {
        FillDefaults(*reflection->MutableMessage(&message, field));
      }
      continue;
    }
    if (field->is_repeated() || !field->has_default_value() ||
        reflection->HasField(message, field)) {
      continue;
    }
    switch (field->cpp_type()) {
      case FieldDescriptor::CPPTYPE_UINT32:
        reflection->SetUInt32(&message, field, field->default_value_uint32());
        break;
      case FieldDescriptor::CPPTYPE_UINT64:
        reflection->SetUInt64(&message, field, field->default_value_uint64());
        break;
      case FieldDescriptor::CPPTYPE_BOOL:
        reflection->SetBool(&message, field, field->default_value_bool());
        break;
      case FieldDescriptor::CPPTYPE_STRING:
        reflection->SetString(&message, field, field->default_value_string());
        break;
      case FieldDescriptor::CPPTYPE_ENUM:
        reflection->SetEnum(&message, field, field->default_value_enum());
        break;
      default:
        PP_CHECK(false);  // the language has no field of another type
    }
  }
}

void AddDefaultEnumerators(Check& check) {
  check.add_enumerate()->mutable_prefix()->set_at(PrefixEnumerator::EVERY_WRITE);
  check.add_enumerate()->mutable_lose_one();
  check.add_enumerate()->mutable_lose_subset();
}

}  // namespace

// Makes the plans of one scenario.
class PlanMaker {
 public:
  PlanMaker(const Scenario& scenario, const PlanOverrides& overrides)
      : scenario_(scenario), overrides_(overrides) {}

  std::vector<Plan> Make() const {
    if (scenario_.axis_size() > 0) return MakeMatrix();
    if (scenario_.variant_size() == 0) return {Finish(Bare(), "", {}, scenario_.expect())};
    std::vector<Plan> plans;
    for (const Variant& variant : scenario_.variant()) {
      plans.push_back(Finish(Bare(), variant.name(), {&variant.settings()},
                             variant.has_expect() ? variant.expect() : scenario_.expect()));
    }
    return plans;
  }

 private:
  // The scenario without its variants.
  Scenario Bare() const {
    Scenario bare = scenario_;
    bare.clear_variant();
    bare.clear_axis();
    bare.clear_cell();
    return bare;
  }

  std::vector<Plan> MakeMatrix() const;
  Expect ExpectOf(const std::vector<const AxisValue*>& values,
                  const std::vector<std::string>& places) const;
  Plan Finish(Scenario plan, std::string variant, const std::vector<const Settings*>& settings,
              const Expect& expect) const;
  static void Apply(const Settings& settings, Scenario& plan);
  static void RefuseMounts(const std::string& errno_name, Scenario& plan);
  static void ResolveDisks(Scenario& plan);
  static void ResolveSteps(Scenario& plan);
  static void ResolveChecks(const Model* model, uint32_t max_states, Scenario& plan);
  static void ResolveExpect(const Expect& expect, Scenario& plan);

  const Scenario& scenario_;
  const PlanOverrides& overrides_;
};

std::vector<Plan> PlanMaker::MakeMatrix() const {
  std::vector<Plan> plans;
  std::vector<int> at(static_cast<size_t>(scenario_.axis_size()), 0);
  for (;;) {
    std::vector<const AxisValue*> values;
    std::vector<const Settings*> settings;
    std::vector<std::string> places;
    for (int i = 0; i < scenario_.axis_size(); ++i) {
      const Axis& axis = scenario_.axis(i);
      values.push_back(&axis.value(at[static_cast<size_t>(i)]));
      settings.push_back(&values.back()->settings());
      places.push_back(axis.name() + "=" + values.back()->name());
    }
    plans.push_back(Finish(Bare(), fmt::format("{}", fmt::join(places, ",")), settings,
                           ExpectOf(values, places)));
    // The next combination: like counting, the last axis is the last digit.
    int axis = scenario_.axis_size() - 1;
    while (axis >= 0 && ++at[static_cast<size_t>(axis)] == scenario_.axis(axis).value_size()) {
      at[static_cast<size_t>(axis--)] = 0;
    }
    if (axis < 0) return plans;
  }
}

Expect PlanMaker::ExpectOf(const std::vector<const AxisValue*>& values,
                           const std::vector<std::string>& places) const {
  const std::set<std::string> wanted(places.begin(), places.end());
  for (const Cell& cell : scenario_.cell()) {
    if (std::set<std::string>(cell.at().begin(), cell.at().end()) == wanted) return cell.expect();
  }
  Expect sum = scenario_.expect();
  for (const AxisValue* value : values) sum.mutable_found()->MergeFrom(value->expect().found());
  return sum;
}

void PlanMaker::RefuseMounts(const std::string& errno_name, Scenario& plan) {
  auto& steps = *plan.mutable_step();
  steps.erase(
      std::remove_if(steps.begin(), steps.end(),
                     [](const Step& step) { return step.has_workload() || step.has_unmount(); }),
      steps.end());
  for (Step& step : steps) {
    if (step.has_mount()) step.mutable_mount()->set_expect_errno(errno_name);
  }
  for (Check& check : *plan.mutable_check()) {
    check.clear_oracle();
    check.clear_kernel_mount();
    check.clear_command();
    check.clear_nested();
    check.add_oracle(FSCK);
  }
}

void PlanMaker::Apply(const Settings& settings, Scenario& plan) {
  if (settings.no_faults()) {
    auto& steps = *plan.mutable_step();
    steps.erase(std::remove_if(steps.begin(), steps.end(),
                               [](const Step& step) {
                                 return step.has_fault() || step.has_device_fault() ||
                                        step.has_corrupt();
                               }),
                steps.end());
  }
  for (Step& step : *plan.mutable_step()) {
    if (step.has_mount()) {
      step.mutable_mount()->mutable_option()->MergeFrom(settings.mount_option());
    }
    if (step.has_mkfs()) step.mutable_mkfs()->mutable_option()->MergeFrom(settings.mkfs_option());
    if (step.has_command()) {
      step.mutable_command()->mutable_argv()->MergeFrom(settings.command_argument());
    }
  }
  for (Check& check : *plan.mutable_check()) {
    if (check.has_command()) {
      check.mutable_command()->mutable_argv()->MergeFrom(settings.command_argument());
    }
  }
  for (Disk& disk : *plan.mutable_disk()) {
    if (settings.drop_barriers() && HasLog(disk) && !DropsBarriers(disk)) {
      disk.add_layer()->mutable_drop_barriers();
    }
  }
  if (settings.has_mount_errno()) RefuseMounts(settings.mount_errno(), plan);
  for (Step& step : *plan.mutable_step()) {
    if (!step.has_agent()) continue;
    step.mutable_agent()->mutable_argv()->MergeFrom(settings.agent_argument());
    step.mutable_agent()->mutable_environment()->MergeFrom(settings.agent_environment());
  }
  if (settings.has_contract()) *plan.mutable_contract() = settings.contract();
  if (settings.has_kernel()) plan.mutable_guest()->set_kernel(settings.kernel());
  if (settings.has_seed()) plan.set_seed(settings.seed());
}

void PlanMaker::ResolveDisks(Scenario& plan) {
  for (Disk& disk : *plan.mutable_disk()) {
    if (!disk.has_serial()) disk.set_serial(disk.name());
  }
}

void PlanMaker::ResolveSteps(Scenario& plan) {
  std::vector<std::string> log_disks;
  for (const Disk& disk : plan.disk()) {
    if (HasLog(disk)) log_disks.push_back(disk.name());
  }
  const auto derived = [&plan](std::string_view name, uint64_t index) {
    const uint64_t seed = DeriveSeed(plan.seed(), name, index);
    return seed == 0 ? 1 : seed;
  };
  uint64_t workloads = 0;
  uint64_t flips = 0;
  for (Step& step : *plan.mutable_step()) {
    if (step.has_mkfs()) {
      const auto texts = step.mkfs().option();
      step.mutable_mkfs()->clear_option();
      for (const std::string& text : texts) {
        for (std::string& word : SplitWords(text)) step.mutable_mkfs()->add_option(std::move(word));
      }
    }
    if (step.has_workload()) {
      const uint64_t index = workloads++;
      if (step.workload().seed() == 0) {
        step.mutable_workload()->set_seed(derived("workload", index));
      }
    }
    if (step.has_corrupt() && step.corrupt().has_flip_bit()) {
      const uint64_t index = flips++;
      FlipBitDamage& flip = *step.mutable_corrupt()->mutable_flip_bit();
      if (flip.seed() == 0) flip.set_seed(derived("flip_bit", index));
    }
    if (step.power_cut().has_search() && log_disks.size() == 1) {
      step.mutable_power_cut()->mutable_search()->set_disk(log_disks.front());
    }
    if (step.has_command() && !step.command().has_mark_disk() && log_disks.size() == 1) {
      step.mutable_command()->set_mark_disk(log_disks.front());
    }
  }
}

void PlanMaker::ResolveChecks(const Model* model, uint32_t max_states, Scenario& plan) {
  if (plan.check().empty()) {
    for (const Disk& disk : plan.disk()) {
      if (HasLog(disk)) plan.add_check()->set_disk(disk.name());
    }
  }
  for (Check& check : *plan.mutable_check()) {
    check.mutable_model();  // there, so that its defaults are filled in
    if (model != nullptr) *check.mutable_model() = *model;
    if (max_states != 0) check.set_max_states(max_states);
    if (check.enumerate().empty()) AddDefaultEnumerators(check);
    if (check.oracle().empty()) {
      check.add_oracle(FSCK);
      check.add_oracle(CONTENT);
    }
    if (check.has_nested() && check.nested().by().empty()) {
      check.mutable_nested()->add_by(Nested::KERNEL);
      check.mutable_nested()->add_by(Nested::E2FSCK);
    }
  }
}

void PlanMaker::ResolveExpect(const Expect& expect, Scenario& plan) {
  const std::set<int> found(expect.found().begin(), expect.found().end());  // sorted, each once
  plan.clear_expect();
  for (const int one : found) plan.mutable_expect()->add_found(static_cast<FindingClass>(one));
  plan.mutable_expect()->set_nothing(found.empty());
}

Plan PlanMaker::Finish(Scenario plan, std::string variant,
                       const std::vector<const Settings*>& settings, const Expect& expect) const {
  const Model* model = nullptr;
  uint32_t max_states = 0;
  for (const Settings* one : settings) {
    Apply(*one, plan);
    if (one->has_model()) model = &one->model();
    if (one->has_max_states()) max_states = one->max_states();
  }
  plan.mutable_guest();  // there, so that its defaults are filled in
  if (overrides_.kernel) plan.mutable_guest()->set_kernel(*overrides_.kernel);
  if (overrides_.seed) plan.set_seed(*overrides_.seed);
  ResolveDisks(plan);
  ResolveSteps(plan);
  ResolveChecks(model, max_states, plan);
  ResolveExpect(expect, plan);
  const bool agents = std::any_of(plan.step().begin(), plan.step().end(),
                                  [](const Step& step) { return step.has_agent(); });
  if (agents) plan.mutable_contract();  // there, so that its defaults are filled in
  FillDefaults(plan);
  // `nth` means something with EVERY_NTH only, and is an error elsewhere.
  for (Check& check : *plan.mutable_check()) {
    for (Enumerate& enumerate : *check.mutable_enumerate()) {
      if (enumerate.has_prefix() && enumerate.prefix().at() != PrefixEnumerator::EVERY_NTH) {
        enumerate.mutable_prefix()->clear_nth();
      }
    }
  }
  return Plan(std::move(plan), std::move(variant));
}

std::string Plan::FullName() const {
  return variant_.empty() ? scenario_.name() : scenario_.name() + "/" + variant_;
}

Result<std::vector<Plan>> ExpandPlans(const Scenario& scenario, const PlanOverrides& overrides) {
  const std::vector<Diagnostic> diagnostics =
      ValidateScenario(scenario, scenario.name().empty() ? "scenario" : scenario.name());
  if (!diagnostics.empty()) return ToError(diagnostics);
  if (overrides.kernel) {
    const std::string mistake = KernelMistake(*overrides.kernel);
    if (!mistake.empty()) return UserError("in place of the scenario's kernel: " + mistake);
  }
  return PlanMaker(scenario, overrides).Make();
}

}  // namespace plugpull::scenario
