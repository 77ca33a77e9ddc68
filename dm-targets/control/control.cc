// SPDX-License-Identifier: Apache-2.0
#include "dm-targets/control/control.h"

#include <fmt/format.h>
#include <libdevmapper.h>

#include <algorithm>
#include <cstdarg>
#include <cstdio>
#include <memory>

#include "framework/os/fd.h"

namespace plugpull::dm {
namespace {

// Levels as libdevmapper uses them (its libdm-logging.h): 2 fatal, 3 error, 4 warning, 5 and above
// are chatter. Other bits of the level say where the text goes.
constexpr int kLevelMask = 7;
constexpr int kLevelWarning = 4;
constexpr size_t kCapturedBytesMax = 4096;
constexpr size_t kListMax = 10'000;  // entries of a list of the kernel

std::string& Captured() {
  static std::string text;
  return text;
}

__attribute__((format(printf, 5, 6))) void Capture(int level, const char* /*file*/, int /*line*/,
                                                   int /*errno_or_class*/, const char* format,
                                                   ...) {
  if ((level & kLevelMask) > kLevelWarning) return;
  char buffer[512];
  va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(buffer, sizeof buffer, format, arguments);
  va_end(arguments);
  std::string& text = Captured();
  // A remove that is tried again says the same each time.
  if (text.ends_with(buffer) || text.size() + sizeof buffer > kCapturedBytesMax) return;
  if (!text.empty()) text += "; ";
  text += buffer;
}

void SetUpOnce() {
  static const bool done = [] {
    dm_log_with_errno_init(Capture);
    dm_udev_set_sync_support(0);
    return true;
  }();
  (void)done;
}

struct TaskDeleter {
  void operator()(dm_task* task) const { dm_task_destroy(task); }
};
using Task = std::unique_ptr<dm_task, TaskDeleter>;

Error Failed(const std::string& what, const std::string& name, int error_number) {
  const std::string& said = Captured();
  return EnvironmentError(
      fmt::format("device-mapper cannot {} {}: {}{}{}", what, name,
                  error_number != 0 ? os::ErrnoText(error_number) : std::string("no errno"),
                  said.empty() ? "" : "; libdevmapper says: ", said));
}

Result<Task> NewTask(int type, const std::string& what, const std::string& name) {
  SetUpOnce();
  Captured().clear();
  Task task(dm_task_create(type));
  if (!task || !dm_task_set_name(task.get(), name.c_str())) return Failed(what, name, 0);
  return task;
}

Status Run(dm_task& task, const std::string& what, const std::string& name) {
  if (!dm_task_run(&task)) return Failed(what, name, dm_task_get_errno(&task));
  dm_task_update_nodes();
  return OkStatus();
}

Status AddTargets(dm_task& task, const Table& table, const std::string& name) {
  PP_RETURN_IF_ERROR(Validate(table));
  for (const auto& target : table) {
    if (!dm_task_add_target(&task, StartOf(target).value, LengthOf(target).value,
                            std::string(TypeOf(target)).c_str(), ParametersOf(target).c_str())) {
      return Failed("add \"" + LineOf(target) + "\" to the table of", name, 0);
    }
  }
  return OkStatus();
}

// The same error, with the table that it is about.
Status WithTable(Status status, const Table& table) {
  if (status.ok()) return status;
  return WithContext(std::move(status).error(), "table \"" + ToString(table) + "\"");
}

// One target of an answer of the kernel.
struct Reported {
  uint64_t start = 0;
  uint64_t length = 0;
  std::string type;
  std::string parameters;
};

Result<std::vector<Reported>> Query(int type, const std::string& what, const std::string& name) {
  PP_ASSIGN_OR_RETURN(const Task task, NewTask(type, what, name));
  // Without this the kernel may flush the target before it answers.
  if (!dm_task_no_flush(task.get())) return Failed(what, name, 0);
  PP_RETURN_IF_ERROR(Run(*task, what, name));
  std::vector<Reported> targets;
  void* next = nullptr;
  do {
    Reported target;
    char* target_type = nullptr;
    char* parameters = nullptr;
    next = dm_get_next_target(task.get(), next, &target.start, &target.length, &target_type,
                              &parameters);
    if (target_type == nullptr) break;  // the device has no live table
    if (targets.size() == kTargetsMax) return Failed("bound the count of targets of", name, 0);
    target.type = target_type;
    target.parameters = parameters == nullptr ? "" : parameters;
    targets.push_back(std::move(target));
  } while (next != nullptr);
  return targets;
}

Status RunSimple(int type, const std::string& what, const std::string& name) {
  PP_ASSIGN_OR_RETURN(const Task task, NewTask(type, what, name));
  if (type == DM_DEVICE_SUSPEND && !dm_task_skip_lockfs(task.get())) return Failed(what, name, 0);
  if (type == DM_DEVICE_REMOVE && !dm_task_retry_remove(task.get())) return Failed(what, name, 0);
  return Run(*task, what, name);
}

}  // namespace

Result<Device> Device::Create(const std::string& name, const Table& table) {
  if (!name.starts_with(kNamePrefix) || name.size() > kNameBytesMax) {
    return UserError(
        fmt::format("the device name \"{}\" must begin with \"{}\" and have at most {} bytes", name,
                    kNamePrefix, kNameBytesMax));
  }
  PP_ASSIGN_OR_RETURN(const Task task, NewTask(DM_DEVICE_CREATE, "create", name));
  PP_RETURN_IF_ERROR(AddTargets(*task, table, name));
  if (!dm_task_set_add_node(task.get(), DM_ADD_NODE_ON_CREATE)) return Failed("create", name, 0);
  PP_RETURN_IF_ERROR(WithTable(Run(*task, "create", name), table));
  dm_info info{};
  if (!dm_task_get_info(task.get(), &info) || !info.exists) return Failed("look up", name, 0);
  return Device(name, DeviceNumber{info.major, info.minor});
}

Device& Device::operator=(Device&& other) noexcept {
  if (this != &other) {
    Device old(std::move(*this));
    name_ = std::exchange(other.name_, {});
    number_ = other.number_;
  }
  return *this;
}

Device::~Device() {
  if (name_.empty()) return;
  const Status removed = Remove();
  if (!removed.ok()) std::fprintf(stderr, "plugpull: %s\n", removed.error().ToString().c_str());
}

std::string Device::path() const { return std::string(dm_dir()) + "/" + name_; }

std::string Device::kernel_name() const { return fmt::format("dm-{}", number_.minor); }

Status Device::Suspend() { return RunSimple(DM_DEVICE_SUSPEND, "suspend", name_); }

Status Device::Load(const Table& table, bool read_only) {
  PP_ASSIGN_OR_RETURN(const Task task, NewTask(DM_DEVICE_RELOAD, "load a table of", name_));
  PP_RETURN_IF_ERROR(AddTargets(*task, table, name_));
  if (read_only && !dm_task_set_ro(task.get())) return Failed("load a table of", name_, 0);
  return WithTable(Run(*task, "load a table of", name_), table);
}

Status Device::Resume() { return RunSimple(DM_DEVICE_RESUME, "resume", name_); }

Status Device::Swap(const Table& table, bool read_only) {
  PP_RETURN_IF_ERROR(Load(table, read_only));
  const Status suspended = Suspend();
  // Also when it failed: the kernel may have stopped half-way.
  const Status resumed = Resume();
  PP_RETURN_IF_ERROR(suspended);
  PP_RETURN_IF_ERROR(resumed);
  PP_ASSIGN_OR_RETURN(const Table reported, ReadTable());
  if (SameMeaning(table, reported)) return OkStatus();
  return EnvironmentError(
      fmt::format("the kernel reports the table \"{}\" for {}, asked for was \"{}\"",
                  plugpull::dm::ToString(reported), name_, plugpull::dm::ToString(table)));
}

Result<Table> Device::ReadTable() const {
  PP_ASSIGN_OR_RETURN(const auto targets, Query(DM_DEVICE_TABLE, "read the table of", name_));
  Table table;
  for (const auto& target : targets) {
    PP_ASSIGN_OR_RETURN(Target parsed,
                        ParseLine(fmt::format("{} {} {} {}", target.start, target.length,
                                              target.type, target.parameters)));
    table.push_back(parsed);
  }
  return table;
}

Result<std::vector<std::string>> Device::ReadStatus() const {
  PP_ASSIGN_OR_RETURN(auto targets, Query(DM_DEVICE_STATUS, "read the status of", name_));
  std::vector<std::string> lines;
  lines.reserve(targets.size());
  for (auto& target : targets) lines.push_back(std::move(target.parameters));
  return lines;
}

Status Device::SendMessage(const std::string& message) {
  PP_ASSIGN_OR_RETURN(const Task task, NewTask(DM_DEVICE_TARGET_MSG, "send a message to", name_));
  if (!dm_task_set_sector(task.get(), 0) || !dm_task_set_message(task.get(), message.c_str())) {
    return Failed("send \"" + message + "\" to", name_, 0);
  }
  return Run(*task, "send \"" + message + "\" to", name_);
}

Status Device::Remove() {
  PP_CHECK(!name_.empty());
  PP_RETURN_IF_ERROR(RunSimple(DM_DEVICE_REMOVE, "remove", name_));
  name_.clear();
  return OkStatus();
}

Status TryTable(const std::string& name, const Table& table) {
  if (!name.starts_with(kNamePrefix)) {
    return UserError(
        fmt::format("the device name \"{}\" must begin with \"{}\"", name, kNamePrefix));
  }
  {
    PP_ASSIGN_OR_RETURN(const Task task, NewTask(DM_DEVICE_CREATE, "create", name));
    PP_RETURN_IF_ERROR(Run(*task, "create", name));
  }
  const auto load = [&]() -> Status {
    PP_ASSIGN_OR_RETURN(const Task task, NewTask(DM_DEVICE_RELOAD, "load a table of", name));
    PP_RETURN_IF_ERROR(AddTargets(*task, table, name));
    return WithTable(Run(*task, "load a table of", name), table);
  };
  Status loaded = load();
  const Status removed = RunSimple(DM_DEVICE_REMOVE, "remove", name);
  return loaded.ok() ? removed : loaded;
}

std::string TargetVersion::ToString() const {
  return fmt::format("{} {}.{}.{}", type, major, minor, patch);
}

Result<std::vector<TargetVersion>> ListTargetVersions() {
  SetUpOnce();
  Captured().clear();
  const Task task(dm_task_create(DM_DEVICE_LIST_VERSIONS));
  if (!task) return Failed("list the targets of", "the kernel", 0);
  PP_RETURN_IF_ERROR(Run(*task, "list the targets of", "the kernel"));
  std::vector<TargetVersion> versions;
  const dm_versions* entry = dm_task_get_versions(task.get());
  while (entry != nullptr && versions.size() < kListMax) {
    versions.push_back({entry->name, entry->version[0], entry->version[1], entry->version[2]});
    if (entry->next == 0) break;
    entry =
        reinterpret_cast<const dm_versions*>(reinterpret_cast<const char*>(entry) + entry->next);
  }
  return versions;
}

Result<std::vector<std::string>> ListOurDevices() {
  SetUpOnce();
  Captured().clear();
  const Task task(dm_task_create(DM_DEVICE_LIST));
  if (!task) return Failed("list the devices of", "the kernel", 0);
  PP_RETURN_IF_ERROR(Run(*task, "list the devices of", "the kernel"));
  std::vector<std::string> names;
  const dm_names* entry = dm_task_get_names(task.get());
  // An empty list is one entry without a device.
  while (entry != nullptr && entry->dev != 0 && names.size() < kListMax) {
    if (std::string_view(entry->name).starts_with(kNamePrefix)) names.emplace_back(entry->name);
    if (entry->next == 0) break;
    entry = reinterpret_cast<const dm_names*>(reinterpret_cast<const char*>(entry) + entry->next);
  }
  std::sort(names.begin(), names.end());
  return names;
}

Result<std::vector<std::string>> SweepDevices() {
  std::vector<std::string> removed;
  for (;;) {
    PP_ASSIGN_OR_RETURN(const auto names, ListOurDevices());
    if (names.empty()) return removed;
    bool progress = false;
    Status last;
    for (const std::string& name : names) {
      // Not tried again: what others stand on goes in a later round.
      PP_ASSIGN_OR_RETURN(const Task task, NewTask(DM_DEVICE_REMOVE, "remove", name));
      const Status gone = Run(*task, "remove", name);
      if (gone.ok()) {
        removed.push_back(name);
        progress = true;
      } else {
        last = gone;
      }
    }
    if (!progress) {
      return WithContext(last.error(),
                         fmt::format("sweeping up {} devices that are still in use, {} "
                                     "the first of them (is it mounted?)",
                                     names.size(), names.front()));
    }
  }
}

}  // namespace plugpull::dm
