// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>
#include <sys/statvfs.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include <thread>

#include "framework/cli/commands.h"
#include "framework/oracle/fsck.h"
#include "framework/os/file.h"
#include "framework/run/guest_image.h"
#include "vm/kernels/kernels.h"
#include "vm/qemu/qemu_machine.h"

namespace plugpull::cli {
namespace {

constexpr char kUsualKernel[] = "debian:6.1";
constexpr uint64_t kFreeBytesWanted = 2ULL << 30;
constexpr uint64_t kMemoryBytesWanted = 3ULL << 29;  // 1.5 GiB

// Prints one line a finding; remembers whether one stands in the way of a run.
class Findings {
 public:
  void Good(const std::string& what) { fmt::print("ok       {}\n", what); }
  void Note(const std::string& what) { fmt::print("note     {}\n", what); }
  void Missing(const std::string& what) {
    fmt::print("missing  {}\n", what);
    missing_ = true;
  }
  bool missing() const { return missing_; }

 private:
  bool missing_ = false;
};

void CheckPrograms(Findings& findings) {
  if (const auto version = vm::QemuVersion(); version.ok()) {
    findings.Good(*version);
  } else {
    findings.Missing(version.error().message);
  }
  if (const auto fsck = oracle::Fsck::Find(); fsck.ok()) {
    findings.Good(fsck->version());
  } else {
    findings.Missing(fsck.error().message);
  }
}

void CheckKernels(Findings& findings) {
  const auto kernels = vm::KernelNames();
  if (!kernels.ok()) return findings.Missing(kernels.error().ToString());
  for (const auto& kernel : *kernels) {
    if (kernel.cached) {
      findings.Good(fmt::format("kernel {} is in the cache ({})", kernel.name, kernel.release));
    } else {
      findings.Note(
          fmt::format("kernel {} is not in the cache: a run fetches it, or: ./plugpull "
                      "kernel fetch {}",
                      kernel.name, kernel.name));
    }
  }
}

void CheckAccelerator(Findings& findings) {
  Guest guest;
  guest.set_kernel(kUsualKernel);
  const auto image = run::PrepareGuestImage(guest, "auto", "");
  if (!image.ok()) return findings.Missing(image.error().ToString());
  const std::string line =
      fmt::format("guests run under {}: {}", image->accelerator, image->accelerator_reason);
  if (image->accelerator == "kvm") return findings.Good(line);
  findings.Note(line +
                "; emulation is slower (a guest boots in seconds) and gives the same verdicts");
}

void CheckRoom(Findings& findings) {
  struct sysinfo memory {};
  if (::sysinfo(&memory) == 0) {
    const uint64_t free =
        (memory.freeram + memory.bufferram) * static_cast<uint64_t>(memory.mem_unit);
    const std::string line = fmt::format("{} MiB of memory free, {} processors", free >> 20,
                                         std::thread::hardware_concurrency());
    free >= kMemoryBytesWanted ? findings.Good(line)
                               : findings.Note(line + "; with under 1536 MiB use --jobs 1");
  }
  const auto cache = os::CacheFolder();
  if (!cache.ok()) return findings.Missing(cache.error().ToString());
  for (const std::string& folder : {*cache, std::string(".")}) {
    struct statvfs space {};
    if (::statvfs(folder.c_str(), &space) != 0) continue;
    const uint64_t free = static_cast<uint64_t>(space.f_bavail) * space.f_frsize;
    const std::string line = fmt::format("{} MiB free in {}", free >> 20, folder);
    free >= kFreeBytesWanted
        ? findings.Good(line)
        : findings.Missing(line + "; a run wants 2048: free some, or set PLUGPULL_CACHE and --out");
  }
}

}  // namespace

int ListKernels() {
  const auto kernels = vm::KernelNames();
  if (!kernels.ok()) return Fail(kernels.error());
  for (const auto& kernel : *kernels) {
    fmt::print("{:12}  {:10}  {}\n", kernel.name, kernel.suite,
               kernel.cached ? "in the cache: " + kernel.release : "not fetched yet");
  }
  return 0;
}

int FetchKernels(const std::vector<std::string>& names) {
  int status = 0;
  for (const std::string& name : names) {
    const auto kernel = vm::ResolveKernel(name);
    if (kernel.ok()) {
      fmt::print("{}: {} {}\n", name, kernel->release, kernel->image);
    } else {
      status = std::max(status, Fail(kernel.error()));
    }
  }
  return status;
}

int Doctor() {
  Findings findings;
  CheckPrograms(findings);
  CheckKernels(findings);
  CheckAccelerator(findings);
  CheckRoom(findings);
  fmt::print("{}\n", findings.missing() ? "Something is missing: see above."
                                        : "This machine can run every scenario of one guest.");
  return findings.missing() ? 3 : 0;
}

}  // namespace plugpull::cli
