// SPDX-License-Identifier: Apache-2.0
#include "framework/incident/agent_steps.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "framework/incident/words.h"

namespace plugpull::incident {
namespace {

constexpr char kSerial[] = "field-disk";
constexpr char kAgent[] = "agent";
// The first copy of the superblock, in KiB: with blocks of 1 KiB a group has 8192 of them, and the
// first one begins at block 1 (ext4(5), fs/ext4/super.c: sb=).
constexpr char kCopy[] = "8193";
constexpr uint64_t kHourS = 3600;
constexpr uint64_t kRoundsMin = 4;  // what is called a loop has three closed cycles
constexpr uint64_t kRoundsMax = 8;  // of re-attachments, each of which takes the machine a second
constexpr uint64_t kTimedRounds = 12;
constexpr uint64_t kPerRoundMax = 5;
constexpr uint64_t kFiniteMax = 12;
constexpr uint64_t kFinitePauseS = 5;
constexpr uint64_t kTimedPeriodS = 300;  // of a loop without times and re-attachments
constexpr uint64_t kPeriodMaxS = 3600;
// Of the contract's defaults (scenario.proto).
constexpr uint64_t kAttemptsMax = 5;
constexpr uint64_t kGapCapS = 60;
constexpr uint64_t kGapMaxS = 600;

struct DamageForm {
  Failure failure;
  Damage damage;     // DAMAGE_UNSPECIFIED: reads fail
  bool copy_mounts;  // a copy of the superblock is spared, and mounts
};
// By what the kernel says of each: framework/ext4/DAMAGE.md.
constexpr DamageForm kForms[] = {
    {Failure::kNotRecognised, MAGIC_ZEROED, true},
    {Failure::kChecksum, SUPERBLOCK_CHECKSUM, true},
    {Failure::kFeatures, UNKNOWN_INCOMPAT, true},
    {Failure::kGeometry, INODES_PER_GROUP_ZERO, true},
    {Failure::kDescriptors, GROUP_DESCRIPTORS_ZEROED, false},
    {Failure::kRootInode, ROOT_INODE_CLEARED, false},
    {Failure::kJournal, JOURNAL_SUPERBLOCK_ZEROED, false},
    {Failure::kReadError, DAMAGE_UNSPECIFIED, false},
};

Failure MostFrequent(const DeviceReport& report) {
  const auto most = std::max_element(report.failures.begin(), report.failures.end());
  return static_cast<Failure>(most - report.failures.begin());
}

const DamageForm& FormOf(const DeviceReport& report, std::vector<std::string>& differs) {
  const Failure failure = MostFrequent(report);
  for (const DamageForm& form : kForms) {
    if (form.failure == failure) return form;
  }
  differs.push_back(fmt::format(
      "The log says of the failed mounts: {}. Here the disk has lost its magic instead.",
      FailureWords(failure)));
  return kForms[0];
}

// What the agent does.
struct Course {
  uint64_t failures = 1;  // in a round
  uint64_t mounts = 0;
  uint64_t rounds = kRoundsMin;
  uint64_t period_s = 0;
  uint64_t pause_s = 2;  // half of what is between two attempts, so that all gaps are alike
  uint64_t poll_s = 10;  // each look costs a process, and a warped hour is to take seconds
  bool reattached = false;
  bool finite = false;  // it gave up, without a word

  uint64_t Attempts() const { return failures + mounts; }
  uint64_t RoundS() const { return poll_s + 2 * pause_s * Attempts(); }
};

uint64_t PollS(uint64_t period_s) { return std::clamp<uint64_t>(period_s / 20, 1, 60); }

// One row of attempts and then silence.
Course FiniteCourse(const DeviceReport& report) {
  Course course;
  course.failures = std::clamp<uint64_t>(report.attempts - report.mounts, 1, kFiniteMax);
  course.rounds = 1;
  course.pause_s = kFinitePauseS;
  course.finite = true;
  return course;
}

// Attempts of one round come fast, rounds come slowly: three attempts or more, so that most gaps
// are short, whatever the period.
Course LoopCourse(const DeviceReport& report, const DamageForm& form,
                  std::vector<std::string>& differs) {
  const Loop& loop = *report.verdict.loop;
  Course course;
  for (const CycleStep& step : loop.steps) {
    const uint64_t repeats = std::clamp<uint64_t>(step.repeats_min, 1, kPerRoundMax);
    if (step.kind == Event::Kind::kMountFailed) course.failures = repeats;
    if (step.kind == Event::Kind::kMounted) course.mounts = repeats;
  }
  if (course.mounts > 0 && !form.copy_mounts) {
    differs.push_back("Mounts succeeded in between; here none does.");
    course.mounts = 0;
  }
  if (course.Attempts() == 2) ++(course.mounts > 0 ? course.mounts : course.failures);
  course.reattached = report.re_attachments > 0 && form.damage != DAMAGE_UNSPECIFIED;
  if (report.re_attachments > 0 && !course.reattached) {
    differs.push_back("The disk was re-attached; here it fails in its place.");
  }
  const uint64_t needed = kAttemptsMax / course.Attempts() + 1;
  course.rounds = course.reattached ? std::clamp(std::max(report.re_attachments + 1, needed),
                                                 kRoundsMin, kRoundsMax)
                                    : kTimedRounds;
  if (loop.period) {
    const auto period_s = static_cast<uint64_t>(std::llround(loop.period->median_s));
    course.poll_s = PollS(period_s);
    course.pause_s = std::clamp<uint64_t>(period_s / 20, 1, 2);
    course.period_s = std::clamp(period_s, 2 * course.RoundS(), kPeriodMaxS);
  } else {
    course.period_s = course.reattached ? kHourS / course.rounds : kTimedPeriodS;
    course.poll_s = PollS(course.period_s);
  }
  return course;
}

void AddGuest(const DeviceReport& report, IncidentScenario& made) {
  Guest* guest = made.scenario.mutable_guest();
  guest->set_clock(Guest::WARPED);
  const std::string& release = report.kernel;
  const auto at_least = [&](const char* kernel, std::initializer_list<const char*> series) {
    for (const char* one : series) {
      if (release.starts_with(one)) guest->set_kernel(kernel);
    }
  };
  at_least("debian:5.10", {"3.", "4.", "5."});
  at_least("debian:6.12", {"6.7", "6.8", "6.9", "6.10", "6.11", "6.12", "6.13", "6.14"});
  at_least("debian:7.2", {"6.15", "6.16", "6.17", "6.18", "6.19", "7."});
  if (!release.empty()) {
    made.differs.push_back(
        fmt::format("The kernel of the field was {}; here it is {}.", release, guest->kernel()));
  }
}

AgentStep* AddAgent(const std::vector<std::string>& options, IncidentScenario& made) {
  AgentStep* agent = made.scenario.add_step()->mutable_agent();
  agent->set_name(kAgent);
  agent->add_argv("/bin/sh");
  agent->add_argv("/scenario/" + made.file_name);
  agent->add_environment(std::string("SERIAL=") + kSerial);
  agent->add_environment(std::string("TARGET=") + kScenarioMountPoint);
  agent->add_environment(fmt::format(
      "OPTIONS={}", options.empty() ? "rw" : fmt::format("{}", fmt::join(options, ","))));
  AgentVolume* volume = agent->add_volume();
  volume->set_disk(kScenarioDisk);
  volume->set_at(kScenarioMountPoint);
  for (const std::string& option : options) volume->add_option(option);
  return agent;
}

void AddWait(uint64_t seconds, Scenario& scenario) {
  scenario.add_step()->mutable_agent_wait()->set_for_ms(static_cast<uint32_t>(seconds * 1000));
}

void AddReplug(Scenario& scenario) {
  scenario.add_step()->mutable_detach()->set_disk(kScenarioDisk);
  scenario.add_step()->mutable_attach()->set_disk(kScenarioDisk);
}

void AddVariant(const std::string& name, const std::string& summary, const std::string& role,
                const std::set<FindingClass>& found, Scenario& scenario) {
  Variant* variant = scenario.add_variant();
  variant->set_name(name);
  variant->set_summary(summary);
  variant->mutable_settings()->add_agent_argument(role);
  if (found.empty()) variant->mutable_expect()->set_nothing(true);
  for (const FindingClass one : found) variant->mutable_expect()->add_found(one);
}

// The properties that the course breaks, by the rules of framework/agent.
std::set<FindingClass> Broken(const Course& course, const DamageForm& form) {
  std::set<FindingClass> found;
  const uint64_t attempts = course.rounds * course.Attempts();
  if (attempts > kAttemptsMax) found.insert(BOUNDED_ATTEMPTS);
  const bool short_gaps = course.Attempts() > 1 || course.period_s < kGapCapS;
  if (attempts > 3 && short_gaps) found.insert(GROWING_GAPS);
  const uint64_t refused = course.mounts == 0 ? attempts : course.failures;
  if (refused > 2 && form.damage != DAMAGE_UNSPECIFIED) found.insert(PERMANENT_NOT_RETRIED);
  if (course.finite) found.insert(ONE_ALERT);
  return found;
}

void AddCourse(const Course& course, const std::vector<std::string>& options,
               IncidentScenario& made) {
  AgentStep* agent = AddAgent(options, made);
  const auto set = [&](const char* name, const std::string& value) {
    agent->add_environment(fmt::format("{}={}", name, value));
  };
  set("FAILURES", std::to_string(course.failures));
  set("MOUNTS", std::to_string(course.mounts));
  set("COPY", kCopy);
  set("PAUSE", std::to_string(course.pause_s));
  set("POLL", std::to_string(course.poll_s));
  set("ROUNDS", std::to_string(course.finite ? course.rounds : 0));
  if (!course.finite && !course.reattached) {
    const uint64_t busy = course.RoundS() - course.poll_s;
    set("PERIOD", std::to_string(course.period_s - busy));
  }
  if (course.finite) return AddWait(kHourS, made.scenario);
  if (!course.reattached) return AddWait(course.rounds * course.period_s, made.scenario);
  for (uint64_t i = 0; i < course.rounds; ++i) {
    if (i > 0) AddReplug(made.scenario);
    AddWait(course.period_s, made.scenario);
  }
}

}  // namespace

void AddFailingAgent(const DeviceReport& report, const std::vector<std::string>& options,
                     IncidentScenario& made) {
  Scenario& scenario = made.scenario;
  made.file_name = "field_agent.sh";
  made.file_text = kFieldAgentText;
  AddGuest(report, made);
  for (const char* program :
       {"/bin/sh", "mkdir", "mount", "sleep", "umount", "plugpull-reference-agent"}) {
    scenario.mutable_guest()->add_program(program);
  }
  scenario.mutable_guest()->add_file(made.file_name);
  scenario.mutable_disk(0)->set_serial(kSerial);
  const DamageForm& form = FormOf(report, made.differs);
  MkfsStep* mkfs = scenario.add_step()->mutable_mkfs();
  mkfs->set_disk(kScenarioDisk);
  mkfs->add_option("-b 1024");
  if (form.damage != DAMAGE_UNSPECIFIED) {
    CorruptStep* corrupt = scenario.add_step()->mutable_corrupt();
    corrupt->set_disk(kScenarioDisk);
    corrupt->set_damage(form.damage);
  } else {
    DeviceFaultStep* fault = scenario.add_step()->mutable_device_fault();
    fault->set_disk(kScenarioDisk);
    fault->mutable_io_error()->set_op(IoErrorFault::READ);
    fault->mutable_io_error()->set_once(false);
  }
  const bool loops = report.verdict.loop.has_value();
  const Course course = loops ? LoopCourse(report, form, made.differs) : FiniteCourse(report);
  if (!loops && report.mounts > 0) {
    made.differs.push_back(
        fmt::format("Of the mounts, {} succeeded; here none does.", report.mounts));
  }
  AddCourse(course, options, made);
  if (!course.finite && 2 * course.period_s > kGapMaxS) {
    scenario.mutable_contract()->set_gap_max_ms(
        static_cast<uint32_t>(std::max(kHourS, 2 * course.period_s) * 1000));
  }
  AddVariant(kFieldVariant, "does what the log shows", "loop", Broken(course, form), scenario);
  if (course.mounts > 0) {
    Course never = course;
    never.mounts = 0;
    // As many attempts as in the field: it knows no copy, and asks again.
    never.failures = course.Attempts();
    AddVariant("never_recognised", "the same agent, and no mount succeeds", "never",
               Broken(never, form), scenario);
    scenario.mutable_variant(scenario.variant_size() - 1)
        ->mutable_settings()
        ->add_agent_environment(fmt::format("FAILURES={}", never.failures));
  }
  AddVariant(kReferenceVariant, "the reference agent in its place gives up, and stays silent",
             "reference", {}, scenario);
}

void AddFirstFormat(const DeviceReport& report, const std::vector<std::string>& options,
                    IncidentScenario& made) {
  Scenario& scenario = made.scenario;
  made.file_name = "first_format.sh";
  made.file_text = kFirstFormatText;
  AddGuest(report, made);
  for (const char* program : {"/bin/sh", "blockdev", "cmp", "mkdir", "mkfs.ext4", "mount", "umount",
                              "plugpull-reference-agent"}) {
    scenario.mutable_guest()->add_program(program);
  }
  scenario.mutable_guest()->add_file(made.file_name);
  scenario.mutable_disk(0)->set_serial(kSerial);
  const uint64_t plugs = std::clamp<uint64_t>(report.re_attachments, 0, kRoundsMax - 1);
  for (uint64_t i = 0; i <= plugs; ++i) {
    if (i > 0) AddReplug(scenario);
    for (const char* action : {"mount", "unmount"}) {
      AddAgent(options, made)->add_argv(action);
      AgentWaitStep* wait = scenario.add_step()->mutable_agent_wait();
      wait->set_name(kAgent);
      wait->set_until_exit(true);
      if (std::string_view(action) == "mount") AddWait(kTimedPeriodS, scenario);
    }
  }
  AddVariant(kFieldVariant, "does what the log shows", "field", {}, scenario);
  AddVariant(kReferenceVariant, "the reference agent in its place", "reference", {}, scenario);
}

}  // namespace plugpull::incident
