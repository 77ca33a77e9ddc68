// SPDX-License-Identifier: Apache-2.0
#include "vm/kernels/apt_fetch.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <set>

#include "framework/os/file.h"
#include "framework/os/subprocess.h"

namespace plugpull::vm {
namespace {

constexpr char kKeyring[] = "/usr/share/keyrings/debian-archive-keyring.gpg";
constexpr Bytes kSourcesBytesMax(1 << 20);
constexpr Millis kAptCommandMax{60'000};
constexpr Millis kDownloadMax{600'000};
constexpr Bytes kAptOutputMax(4 << 20);
constexpr size_t kPackagesMax = 32;
constexpr size_t kSaidLinesMax = 8;

// What of the system's apt settings has to do with reaching a mirror from here. Everything else,
// hooks above all, stays out.
constexpr std::string_view kSettingsKept[] = {"Acquire::http::",
                                              "Acquire::https::",
                                              "Acquire::ftp::",
                                              "Acquire::Retries ",
                                              "Acquire::ForceIPv4 ",
                                              "Acquire::ForceIPv6 ",
                                              "Acquire::Check-Valid-Until ",
                                              "Acquire::Check-Date ",
                                              "Acquire::Max-FutureTime "};

std::string SaidLast(const std::string& output) {
  size_t start = output.size();
  for (size_t lines = 0; start > 0 && lines <= kSaidLinesMax; ++lines) {
    const size_t newline = output.rfind('\n', start - 1);
    if (newline == std::string::npos) return output;
    start = newline;
  }
  return output.substr(std::min(start + 1, output.size()));
}

// Runs a program of the apt family and gives back what it printed. An empty `apt_config` means the
// system's own.
Result<std::string> RunTool(const std::string& name, const std::string& package,
                            const std::vector<std::string>& arguments,
                            const std::string& apt_config, const std::string& folder,
                            Millis timeout) {
  PP_ASSIGN_OR_RETURN(const std::string program, os::FindProgram(name, package));
  os::SubprocessOptions options;
  options.argv = {program};
  options.argv.insert(options.argv.end(), arguments.begin(), arguments.end());
  options.environment = {"LC_ALL=C"};
  if (!apt_config.empty()) options.environment.push_back("APT_CONFIG=" + apt_config);
  options.folder = folder;
  PP_ASSIGN_OR_RETURN(const auto output, os::RunProgram(options, timeout, kAptOutputMax));
  if (output.exit.signaled || output.exit.code != 0) {
    return EnvironmentError(fmt::format("{} {} ended with {}:\n{}", name,
                                        arguments.empty() ? "" : arguments.front(),
                                        output.exit.ToString(), SaidLast(output.out)));
  }
  return output.out;
}

Result<std::string> KeptSettings() {
  PP_ASSIGN_OR_RETURN(const std::string all,
                      RunTool("apt-config", "apt", {"dump"}, "", "/", kAptCommandMax));
  std::string kept;
  size_t at = 0;
  while (at < all.size()) {
    const size_t end = std::min(all.find('\n', at), all.size());
    const std::string line = all.substr(at, end - at);
    if (std::any_of(std::begin(kSettingsKept), std::end(kSettingsKept),
                    [&](std::string_view prefix) { return line.starts_with(prefix); })) {
      kept += line + "\n";
    }
    at = end + 1;
  }
  return kept;
}

// A tree of apt's own; everything it would read or write of the system's is turned away.
class PrivateApt {
 public:
  static Result<PrivateApt> Make(const std::string& folder) {
    PrivateApt apt(folder);
    for (const char* part : {"/etc/apt.conf.d", "/etc/preferences.d", "/etc/trusted.gpg.d",
                             "/state/lists/partial", "/cache/archives/partial", "/download"}) {
      PP_RETURN_IF_ERROR(os::MakeFolders(folder + part));
    }
    PP_RETURN_IF_ERROR(os::WriteFileAtomic(folder + "/state/status", ""));
    PP_ASSIGN_OR_RETURN(const std::string kept, KeptSettings());
    const std::string config =
        kept + fmt::format(
                   "Dir::Etc \"{0}/etc\";\n"
                   "Dir::Etc::parts \"{0}/etc/apt.conf.d\";\n"
                   "Dir::Etc::sourceparts \"none\";\n"
                   "Dir::Etc::netrc \"/etc/apt/auth.conf\";\n"
                   "Dir::Etc::netrcparts \"/etc/apt/auth.conf.d\";\n"
                   "Dir::State \"{0}/state\";\n"
                   "Dir::State::status \"{0}/state/status\";\n"
                   "Dir::Cache \"{0}/cache\";\n"
                   "Dir::Cache::pkgcache \"\";\n"
                   "Dir::Cache::srcpkgcache \"\";\n"
                   "Dir::Log \"{0}/log\";\n"
                   "APT::Architecture \"amd64\";\n"
                   "APT::Architectures \"amd64\";\n"
                   "APT::Sandbox::User \"root\";\n"
                   "APT::Get::AllowUnauthenticated \"false\";\n"
                   "Acquire::AllowInsecureRepositories \"false\";\n"
                   "Acquire::AllowWeakRepositories \"false\";\n"
                   "Acquire::AllowDowngradeToInsecureRepositories \"false\";\n"
                   "Acquire::Languages \"none\";\n",
                   folder);
    PP_RETURN_IF_ERROR(os::WriteFileAtomic(apt.config_, config));
    return apt;
  }

  Status Update(const std::vector<std::string>& source_lines) {
    std::string text;
    for (const auto& line : source_lines) text += line + "\n";
    PP_RETURN_IF_ERROR(os::WriteFileAtomic(folder_ + "/etc/sources.list", text));
    // Without --error-on=any a mirror that does not answer is a mere warning.
    PP_ASSIGN_OR_RETURN(const std::string ignored,
                        RunTool("apt-get", "apt", {"update", "-q", "--error-on=any"}, config_,
                                folder_, kDownloadMax));
    return OkStatus();
  }

  Result<PackageRecord> Show(const std::string& package) {
    PP_ASSIGN_OR_RETURN(const std::string text,
                        RunTool("apt-cache", "apt", {"show", "--no-all-versions", package}, config_,
                                folder_, kAptCommandMax));
    return ParsePackageRecord(text);
  }

  Status DownloadAndUnpack(const std::vector<std::string>& packages, const std::string& to) {
    const std::string folder = folder_ + "/download";
    std::vector<std::string> arguments = {"download", "-q"};
    arguments.insert(arguments.end(), packages.begin(), packages.end());
    PP_ASSIGN_OR_RETURN(const std::string ignored,
                        RunTool("apt-get", "apt", arguments, config_, folder, kDownloadMax));
    PP_ASSIGN_OR_RETURN(const auto files, os::ListFolder(folder));
    for (const auto& file : files) {
      PP_ASSIGN_OR_RETURN(const std::string unpacked,
                          RunTool("dpkg-deb", "dpkg", {"-x", folder + "/" + file, to}, config_,
                                  folder, kDownloadMax));
    }
    return OkStatus();
  }

 private:
  explicit PrivateApt(const std::string& folder) : folder_(folder), config_(folder + "/apt.conf") {}
  std::string folder_;
  std::string config_;
};

std::string SourceLine(const std::string& mirror, const std::string& suite) {
  return fmt::format("deb [signed-by={}] {} {} main", kKeyring, mirror, suite);
}

Result<FetchedPackages> FetchFrom(const std::vector<std::string>& source_lines,
                                  const std::string& package,
                                  const std::vector<std::string>& follow,
                                  const std::string& apt_folder, const std::string& unpack_folder) {
  PP_RETURN_IF_ERROR(os::RemoveAll(apt_folder));
  PP_ASSIGN_OR_RETURN(auto apt, PrivateApt::Make(apt_folder));
  PP_RETURN_IF_ERROR(apt.Update(source_lines));
  FetchedPackages fetched;
  std::vector<std::string> waiting = {package};
  std::set<std::string> seen = {package};
  while (!waiting.empty()) {
    const std::string name = waiting.back();
    waiting.pop_back();
    PP_ASSIGN_OR_RETURN(const PackageRecord record, apt.Show(name));
    if (name == package) {
      fetched.version = record.version;
    } else {
      fetched.packages.push_back(name);
    }
    if (seen.size() > kPackagesMax) {
      return EnvironmentError(
          fmt::format("{} leads to more than {} packages", package, kPackagesMax));
    }
    for (const auto& depend : record.depends) {
      const bool wanted = std::any_of(follow.begin(), follow.end(), [&](const std::string& prefix) {
        return depend.starts_with(prefix);
      });
      if (wanted && seen.insert(depend).second) waiting.push_back(depend);
    }
  }
  if (fetched.packages.empty()) {
    return EnvironmentError(
        fmt::format("{} {} depends on no package of a kernel", package, fetched.version));
  }
  PP_RETURN_IF_ERROR(apt.DownloadAndUnpack(fetched.packages, unpack_folder));
  return fetched;
}

}  // namespace

Result<DebianMirrors> SystemDebianMirrors() {
  DebianMirrors mirrors;
  mirrors.main = os::GetEnv("PLUGPULL_DEBIAN_MIRROR", "");
  if (!mirrors.main.empty()) {
    mirrors.security = os::GetEnv("PLUGPULL_DEBIAN_SECURITY_MIRROR", "");
    return mirrors;
  }
  std::vector<AptSource> sources;
  const auto add = [&](const std::string& path, auto parse) {
    const auto text = os::ReadFile(path, kSourcesBytesMax);
    if (!text.ok()) return;  // what apt cannot read either is none of ours
    for (auto& source : parse(*text)) sources.push_back(std::move(source));
  };
  add("/etc/apt/sources.list", ParseOneLineSources);
  const std::string parts = "/etc/apt/sources.list.d";
  if (const auto names = os::ListFolder(parts); names.ok()) {
    for (const auto& name : *names) {
      if (name.ends_with(".list")) add(parts + "/" + name, ParseOneLineSources);
      if (name.ends_with(".sources")) add(parts + "/" + name, ParseDeb822Sources);
    }
  }
  mirrors = ChooseDebianMirrors(sources);
  if (mirrors.main.empty()) {
    return EnvironmentError(
        "no Debian mirror is named in /etc/apt/sources.list or /etc/apt/sources.list.d: set "
        "PLUGPULL_DEBIAN_MIRROR to the address of one, or name a kernel by path "
        "(kernel: \"VMLINUZ:MODULES_FOLDER\")");
  }
  return mirrors;
}

Result<FetchedPackages> FetchPackages(const DebianMirrors& mirrors, const AptSuite& suite,
                                      const std::string& package,
                                      const std::vector<std::string>& follow,
                                      const std::string& apt_folder,
                                      const std::string& unpack_folder) {
  if (!os::Exists(kKeyring)) {
    return EnvironmentError(fmt::format(
        "{} is missing; it is in the package debian-archive-keyring (./plugpull installs it)",
        kKeyring));
  }
  const std::vector<std::string> lines = {SourceLine(mirrors.main, suite.suite)};
  if (suite.with_security && !mirrors.security.empty()) {
    auto with_security = lines;
    with_security.push_back(SourceLine(mirrors.security, suite.suite + "-security"));
    auto fetched = FetchFrom(with_security, package, follow, apt_folder, unpack_folder);
    if (fetched.ok()) return fetched;
    spdlog::warn("{0}-security cannot be used, going on with {0} alone: {1}", suite.suite,
                 fetched.error().ToString());
    PP_RETURN_IF_ERROR(os::RemoveAll(unpack_folder));
    PP_RETURN_IF_ERROR(os::MakeFolders(unpack_folder));
  }
  return FetchFrom(lines, package, follow, apt_folder, unpack_folder);
}

}  // namespace plugpull::vm
