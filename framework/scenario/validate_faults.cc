// SPDX-License-Identifier: Apache-2.0
// Layers that fail, and the steps that make layers and disks fail. What could not be built in the
// guest is refused here, by the same code that builds it there.
#include <fmt/format.h>
#include <regex.h>

#include <algorithm>
#include <bit>
#include <map>
#include <set>

#include "framework/base/units.h"
#include "framework/layers/layer_table.h"
#include "framework/scenario/boots.h"
#include "framework/scenario/validate.h"
#include "framework/scenario/validation.h"
#include "framework/scenario/words.h"

namespace plugpull::scenario {

namespace {

constexpr char kDebian[] = "debian:";

Sectors SizeOf(const Disk& disk) { return ToSectors(Mebibytes(disk.size_mib())); }

const Disk* FindDisk(const Validation& v, const std::string& name) {
  for (const Disk& disk : v.scenario.disk()) {
    if (!name.empty() && disk.name() == name) return &disk;
  }
  return nullptr;
}

int LogPosition(const Disk& disk) {
  for (int i = 0; i < disk.layer_size(); ++i) {
    if (disk.layer(i).has_log_writes()) return i;
  }
  return -1;
}

bool IsPartOf(const Layer& layer, const std::string& disk) {
  return std::ranges::count(layer.striped().disk(), disk) > 0 || layer.snapshot().scratch() == disk;
}

// The disk that has this one for a part of its layers; null: none.
const Disk* DiskMadeOf(const Validation& v, const Disk& part) {
  for (const Disk& disk : v.scenario.disk()) {
    const bool uses = std::any_of(disk.layer().begin(), disk.layer().end(),
                                  [&](const Layer& layer) { return IsPartOf(layer, part.name()); });
    if (uses) return &disk;
  }
  return nullptr;
}

// The disk whose log stands above all that reaches this one: itself, or the one that it is part of.
// Null: none.
const Disk* LoggedAbove(const Validation& v, const Disk& disk) {
  if (LogPosition(disk) >= 0) return &disk;
  const Disk* user = DiskMadeOf(v, disk);
  return user != nullptr && LogPosition(*user) >= 0 ? user : nullptr;
}

// A snapshot reads what it is about to change, and fails all that follows when it cannot
// (copy_callback and pending_complete in drivers/md/dm-snap.c). What changed is read from the
// scratch disk by whoever asks for it, and nothing more comes of it.
bool ReadsBeforeWrites(const Disk& logged, const Disk& disk) {
  return std::any_of(logged.layer().begin(), logged.layer().end(), [&](const Layer& layer) {
    return layer.has_snapshot() && layer.snapshot().scratch() != disk.name();
  });
}

// Releases that the scenario runs on, as far as their names say; with no_faults they do not count
// where `faults_only`.
std::vector<dm::KernelRelease> Kernels(const Scenario& scenario, bool faults_only) {
  std::set<std::string> names;
  bool guest_counts = scenario.variant().empty();
  for (const Variant& variant : scenario.variant()) {
    if (faults_only && variant.settings().no_faults()) continue;
    if (variant.settings().has_kernel()) {
      names.insert(variant.settings().kernel());
    } else {
      guest_counts = true;
    }
  }
  for (const Axis& axis : scenario.axis()) {
    bool all = !axis.value().empty();
    for (const AxisValue& value : axis.value()) {
      if (value.settings().has_kernel()) names.insert(value.settings().kernel());
      all = all && value.settings().has_kernel();
    }
    if (all) guest_counts = false;
  }
  if (guest_counts) names.insert(scenario.guest().kernel());
  std::vector<dm::KernelRelease> releases;
  for (const std::string& name : names) {
    if (!name.starts_with(kDebian)) continue;
    const auto release = dm::KernelRelease::Parse(name.substr(sizeof kDebian - 1));
    if (release.ok()) releases.push_back(*release);
  }
  return releases;
}

// Whether a write to it may end otherwise than it says.
bool SpoilsWrites(const Layer& layer) {
  if (layer.has_error() || layer.has_zero()) return true;
  if (!layer.has_flakey()) return false;
  const FlakeyLayer& flakey = layer.flakey();
  const bool plain = !flakey.error_reads() && !flakey.has_corrupt_byte() &&
                     flakey.random_read_corrupt() == 0 && flakey.random_write_corrupt() == 0;
  return plain || flakey.drop_writes() || flakey.error_writes() ||
         flakey.random_write_corrupt() != 0 ||
         (flakey.has_corrupt_byte() && flakey.corrupt_byte().direction() == CorruptByte::WRITE);
}

// A layer of a disk, or what a fault makes of it. `source`: of the layer's own message.
void CheckMapped(const Validation& v, const Disk& disk, int position, const Layer& layer,
                 bool of_fault, const SourceNode& source) {
  const auto table = layers::MappedTable(layer, SizeOf(disk), {}, Sectors(0));
  if (!table.ok()) {
    v.reporter.Add(source.name, fmt::format("disk {}: {}", disk.name(), table.error().message));
  }
  for (const dm::KernelRelease& kernel : Kernels(v.scenario, of_fault)) {
    const std::string lacking = layers::UnsupportedLayer(layer, kernel);
    if (!lacking.empty()) v.reporter.Add(source.name, lacking);
  }
  if (position < LogPosition(disk) && SpoilsWrites(layer)) {
    v.reporter.Add(source.name,
                   fmt::format("{} stands below log_writes: the log would show as done what was "
                               "not; put it behind log_writes (layers are listed from the disk "
                               "upwards)",
                               layers::LayerWord(layer)));
  }
}

// Disks that layers of others are made of.
class PartDisks {
 public:
  explicit PartDisks(const Validation& v) : v_(v) {}

  void Add(const Disk& user, const std::string& part, const std::string& word,
           const SourceLocation& at) {
    CheckDiskName(v_, part, at);
    const Disk* disk = FindDisk(v_, part);
    if (disk == nullptr) return;
    std::string mistake;
    if (part == user.name()) {
      mistake = "is the one that the layer is on";
    } else if (disk->layer_size() > 0) {
      mistake = "has layers of its own";
    } else if (!used_.emplace(part, user.name()).second) {
      mistake = fmt::format("is part of disk {} already", used_.at(part));
    } else if (UsedByStep(part)) {
      mistake = "is used by a step";
    }
    if (mistake.empty()) return;
    v_.reporter.Add(at, fmt::format("disk {} of a {} layer {}; name a disk that nothing else uses",
                                    part, word, mistake));
  }

 private:
  bool UsedByStep(const std::string& disk) const {
    return std::any_of(v_.scenario.step().begin(), v_.scenario.step().end(), [&](const Step& step) {
      return step.mkfs().disk() == disk || step.mount().disk() == disk ||
             step.detach().disk() == disk || step.attach().disk() == disk ||
             step.corrupt().disk() == disk;
    });
  }

  const Validation& v_;
  std::map<std::string, std::string> used_;
};

void CheckStriped(const Validation& v, const Disk& disk, int position, const SourceNode& source,
                  PartDisks& parts) {
  const StripedLayer& striped = disk.layer(position).striped();
  if (position != 0) {
    v.reporter.Add(source.name,
                   "striped stands on disks, so it can only be the first layer; put it first");
  }
  const uint64_t stripes = static_cast<uint64_t>(striped.disk_size()) + 1;
  // The strip for marks, behind the file system's part, is 1 MiB.
  const uint64_t kib = (uint64_t{disk.size_mib()} + (LogPosition(disk) >= 0 ? 1 : 0)) << 10;
  const uint64_t round = stripes * striped.chunk_kib();
  if (round != 0 && kib % round != 0) {
    v.reporter.Add(
        source.name,
        fmt::format("disk {} has {} KiB{}, which is no multiple of {} KiB ({} disks of "
                    "{} KiB chunks); choose another chunk_kib or size_mib",
                    disk.name(), kib, LogPosition(disk) >= 0 ? " with its 1024 KiB for marks" : "",
                    round, stripes, striped.chunk_kib()));
  }
  for (int i = 0; i < striped.disk_size(); ++i) {
    const SourceLocation& at = source.Locate(StripedLayer::kDiskFieldNumber, i);
    parts.Add(disk, striped.disk(i), "striped", at);
    const Disk* part = FindDisk(v, striped.disk(i));
    const uint64_t needed_kib = kib / stripes;
    if (part != nullptr && (uint64_t{part->size_mib()} << 10) < needed_kib) {
      v.reporter.Add(at, fmt::format("disk {} has {} MiB, and its share of disk {} is {} KiB; make "
                                     "it larger",
                                     part->name(), part->size_mib(), disk.name(), needed_kib));
    }
  }
}

void CheckLayers(const Validation& v, const Disk& disk, const SourceNode& source,
                 PartDisks& parts) {
  UniqueNames names("layer", v.reporter);
  for (int i = 0; i < disk.layer_size(); ++i) {
    const Layer& layer = disk.layer(i);
    const SourceNode& node = Sub(source, Disk::kLayerFieldNumber, i);
    names.Add(layer.name(), node.Locate(Layer::kNameFieldNumber));
    const bool above_log = LogPosition(disk) >= 0 && i > LogPosition(disk);
    switch (layer.kind_case()) {
      case Layer::kFlakey:
      case Layer::kError:
      case Layer::kDelay:
      case Layer::kZero:
        CheckMapped(v, disk, i, layer, false, Sub(node, static_cast<int>(layer.kind_case())));
        break;
      case Layer::kStriped:
        CheckStriped(v, disk, i, Sub(node, Layer::kStripedFieldNumber), parts);
        break;
      case Layer::kSnapshot: {
        const SourceNode& snapshot = Sub(node, Layer::kSnapshotFieldNumber);
        parts.Add(disk, layer.snapshot().scratch(), "snapshot",
                  snapshot.Locate(SnapshotLayer::kScratchFieldNumber));
        if (!std::has_single_bit(layer.snapshot().chunk_kib())) {
          v.reporter.Add(snapshot.Locate(SnapshotLayer::kChunkKibFieldNumber),
                         fmt::format("chunk_kib is {}; a power of two is expected",
                                     layer.snapshot().chunk_kib()));
        }
        if (above_log) {
          v.reporter.Add(snapshot.name,
                         "snapshot stands above log_writes, and what it keeps elsewhere would be "
                         "in no log; put it before log_writes");
        }
        break;
      }
      default:
        break;
    }
  }
}

void CheckWhen(const Validation& v, const Step& step, const SourceNode& node) {
  if (!step.has_when()) return;
  const SourceNode& when = Sub(node, Step::kWhenFieldNumber);
  if (step.kind_case() != Step::kFault && step.kind_case() != Step::kPowerCut) {
    v.reporter.Add(when.name,
                   "`when` is only possible with a `fault` or `power_cut` step; other steps happen "
                   "in their place in the list");
    return;
  }
  if (step.when().has_after_mark() && step.when().after_mark().empty()) {
    v.reporter.Add(when.Locate(When::kAfterMarkFieldNumber),
                   "after_mark is empty; \"KIND TEXT\" is expected, such as \"ack 0.12\"");
  }
  if (step.has_fault() && step.when().has_after_operations() &&
      step.when().after_operations() == 0) {
    v.reporter.Add(when.Locate(When::kAfterOperationsFieldNumber),
                   "after_operations is 0; leave `when` out for a fault in its place");
  }
  if (!step.when().has_kernel_log()) return;
  regex_t regex{};
  const int error = ::regcomp(&regex, step.when().kernel_log().c_str(), REG_EXTENDED | REG_NOSUB);
  if (error == 0) return ::regfree(&regex);
  char text[256];
  ::regerror(error, &regex, text, sizeof text);
  v.reporter.Add(
      when.Locate(When::kKernelLogFieldNumber),
      fmt::format("kernel_log is {}: {}; a POSIX extended regular expression is expected",
                  Quoted(step.when().kernel_log()), text));
}

void CheckFault(const Validation& v, const FaultStep& fault, const SourceNode& node) {
  CheckDiskName(v, fault.disk(), node.Locate(FaultStep::kDiskFieldNumber));
  const Disk* disk = FindDisk(v, fault.disk());
  if (disk == nullptr || fault.layer().empty() || !v.disks_known) return;
  std::vector<std::string> names;
  int position = -1;
  for (int i = 0; i < disk->layer_size(); ++i) {
    if (disk->layer(i).name() == fault.layer()) position = i;
    if (!disk->layer(i).name().empty() && layers::IsMapped(disk->layer(i))) {
      names.push_back(disk->layer(i).name());
    }
  }
  const SourceLocation& at = node.Locate(FaultStep::kLayerFieldNumber);
  if (position < 0) {
    v.reporter.Add(at, fmt::format("disk {} has no layer {}; layers with a name that can be given "
                                   "another table are {}{}",
                                   disk->name(), Quoted(fault.layer()), ListNames(names),
                                   DidYouMean(fault.layer(), names)));
    return;
  }
  if (!layers::IsMapped(disk->layer(position))) {
    v.reporter.Add(at, fmt::format("layer {} is {}, which goes on as it is; linear, drop_barriers, "
                                   "flakey, error, delay and zero can be given another table",
                                   fault.layer(), layers::LayerWord(disk->layer(position))));
    return;
  }
  if (fault.to_case() == FaultStep::TO_NOT_SET) return;  // found by its rule
  CheckMapped(v, *disk, position, layers::LayerOf(fault), true,
              Sub(node, static_cast<int>(fault.to_case())));
}

void CheckIoError(const Validation& v, const Disk& disk, Sectors size, const IoErrorFault& fault,
                  const SourceNode& node) {
  const std::vector<std::string> names = ErrnoNames();
  const SourceLocation& errno_at = node.Locate(IoErrorFault::kErrnoNameFieldNumber);
  if (std::ranges::count(names, fault.errno_name()) == 0) {
    v.reporter.Add(errno_at,
                   fmt::format("errno_name is {}; the name of an errno is expected{}",
                               Quoted(fault.errno_name()), DidYouMean(fault.errno_name(), names)));
  } else if (fault.errno_name() != "EIO") {
    v.reporter.Add(errno_at, fmt::format("errno_name is {}, and a virtio disk tells its guest EIO "
                                         "whatever it was; write \"EIO\", or leave it out",
                                         fault.errno_name()));
  }
  if (fault.has_sector()) {
    const SourceLocation& at = node.Locate(IoErrorFault::kSectorFieldNumber);
    if (fault.op() == IoErrorFault::FLUSH) {
      v.reporter.Add(at, "a flush touches no sector; leave sector out");
    } else if (fault.sector() >= size.value) {
      v.reporter.Add(at, fmt::format("sector {} is past the end of disk {}, whose last one is {}{}",
                                     fault.sector(), disk.name(), size.value - 1,
                                     size == SizeOf(disk) ? "" : " by then"));
    }
    if (fault.has_nth()) {
      v.reporter.Add(node.Locate(IoErrorFault::kNthFieldNumber),
                     "nth counts requests of the whole disk, so it does not go with sector; leave "
                     "one of them out");
    }
  }
  const Disk* logged = LoggedAbove(v, disk);
  if (logged == nullptr) return;
  if (fault.op() != IoErrorFault::READ) {
    v.reporter.Add(node.Locate(IoErrorFault::kOpFieldNumber),
                   fmt::format("op {} below the log_writes layer of disk {}: its log would show as "
                               "done what was not; make a layer above it flakey with error_writes",
                               IoErrorFault::Op_Name(fault.op()), logged->name()));
  } else if (ReadsBeforeWrites(*logged, disk)) {
    v.reporter.Add(
        node.Locate(IoErrorFault::kOpFieldNumber),
        fmt::format("op READ below the snapshot layer of disk {}, which reads what it is "
                    "about to change and is invalid when that fails: the log above it "
                    "would show as done what was not; leave the snapshot out, or make a "
                    "layer above the log fail",
                    logged->name()));
  }
}

// `sizes`: of disks that earlier steps have resized.
void CheckDeviceFault(const Validation& v, const DeviceFaultStep& fault, const SourceNode& node,
                      std::map<std::string, Sectors>& sizes) {
  CheckDiskName(v, fault.disk(), node.Locate(DeviceFaultStep::kDiskFieldNumber));
  const Disk* disk = FindDisk(v, fault.disk());
  if (disk == nullptr || !v.disks_known) return;
  if (fault.has_io_error()) {
    const auto resized = sizes.find(disk->name());
    CheckIoError(v, *disk, resized == sizes.end() ? SizeOf(*disk) : resized->second,
                 fault.io_error(), Sub(node, DeviceFaultStep::kIoErrorFieldNumber));
  }
  if (!fault.has_resize()) return;
  sizes.insert_or_assign(disk->name(), ToSectors(Mebibytes(fault.resize().size_mib())));
  const Disk* user = DiskMadeOf(v, *disk);
  const SourceLocation& at = Sub(node, DeviceFaultStep::kResizeFieldNumber).name;
  if (disk->layer_size() > 0) {
    v.reporter.Add(at, fmt::format("disk {} has layers, which keep their size; resize one without",
                                   disk->name()));
  } else if (user != nullptr) {
    v.reporter.Add(at, fmt::format("disk {} is part of disk {}, whose layers keep their size; "
                                   "resize one that nothing else uses",
                                   disk->name(), user->name()));
  }
}

// Unplugging and plugging in, in the order of the steps.
class PlugChecker {
 public:
  explicit PlugChecker(const Validation& v) : v_(v) {}

  void Detach(const DetachStep& step, const SourceNode& node) {
    const SourceLocation& at = node.Locate(DetachStep::kDiskFieldNumber);
    CheckDiskName(v_, step.disk(), at);
    const Disk* disk = FindDisk(v_, step.disk());
    if (disk == nullptr || !v_.disks_known) return;
    if (disk->layer_size() > 0) {
      v_.reporter.Add(at, fmt::format("disk {} has layers, which would hold on to it; detach one "
                                      "without",
                                      disk->name()));
    } else if (!detached_.insert(step.disk()).second) {
      v_.reporter.Add(at, fmt::format("disk {} is detached already", step.disk()));
    }
  }

  void Attach(const AttachStep& step, const SourceNode& node) {
    const SourceLocation& at = node.Locate(AttachStep::kDiskFieldNumber);
    CheckDiskName(v_, step.disk(), at);
    if (FindDisk(v_, step.disk()) == nullptr) return;
    if (detached_.erase(step.disk()) == 0) {
      v_.reporter.Add(at, fmt::format("disk {} is there; put a detach step before", step.disk()));
    }
    if (step.serial().starts_with(kLogSerialPrefix)) {
      v_.reporter.Add(node.Locate(AttachStep::kSerialFieldNumber),
                      fmt::format("serial {}: serials that start with {} belong to the disks that "
                                  "hold block logs; choose another",
                                  Quoted(step.serial()), Quoted(kLogSerialPrefix)));
    }
    for (const Disk& other : v_.scenario.disk()) {
      const std::string& serial = other.has_serial() ? other.serial() : other.name();
      if (!step.has_serial() || other.name() == step.disk() || serial != step.serial()) continue;
      v_.reporter.Add(node.Locate(AttachStep::kSerialFieldNumber),
                      fmt::format("serial {} is the one of disk {}; choose another",
                                  Quoted(step.serial()), other.name()));
    }
  }

  // All disks are there again.
  void Boot() { detached_.clear(); }

  // A step that needs the disk.
  void Use(const std::string& disk, const SourceLocation& at) {
    if (!detached_.contains(disk)) return;
    v_.reporter.Add(at, fmt::format("disk {} is detached here; put an attach step before", disk));
  }

 private:
  const Validation& v_;
  std::set<std::string> detached_;
};

}  // namespace

void CheckFaults(const Validation& v) {
  PartDisks parts(v);
  for (int i = 0; i < v.scenario.disk_size(); ++i) {
    CheckLayers(v, v.scenario.disk(i), Sub(v.source, Scenario::kDiskFieldNumber, i), parts);
  }
  PlugChecker plugs(v);
  std::map<std::string, Sectors> sizes;
  for (int i = 0; i < v.scenario.step_size(); ++i) {
    const Step& step = v.scenario.step(i);
    const SourceNode& node = Sub(v.source, Scenario::kStepFieldNumber, i);
    CheckWhen(v, step, node);
    const SourceNode& own = Sub(node, static_cast<int>(step.kind_case()));
    switch (step.kind_case()) {
      case Step::kFault:
        CheckFault(v, step.fault(), own);
        break;
      case Step::kDeviceFault:
        CheckDeviceFault(v, step.device_fault(), own, sizes);
        plugs.Use(step.device_fault().disk(), own.Locate(DeviceFaultStep::kDiskFieldNumber));
        break;
      case Step::kDetach:
        plugs.Detach(step.detach(), own);
        break;
      case Step::kAttach:
        plugs.Attach(step.attach(), own);
        break;
      case Step::kMkfs:
        plugs.Use(step.mkfs().disk(), own.Locate(MkfsStep::kDiskFieldNumber));
        break;
      case Step::kCorrupt:
        plugs.Use(step.corrupt().disk(), own.Locate(CorruptStep::kDiskFieldNumber));
        break;
      case Step::kMount:
        plugs.Use(step.mount().disk(), own.Locate(MountStep::kDiskFieldNumber));
        break;
      default:
        break;
    }
    if (EndsInPowerCut(v.scenario, i)) plugs.Boot();
  }
}

}  // namespace plugpull::scenario
