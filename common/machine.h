// What this machine gives a process. Text of /proc and /sys comes in as arguments where it is read.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

namespace trainyard {

// Bytes that may still be taken: the kernel's MemAvailable, or what the process's memory cgroups
// (either version) have left where that is less; a cgroup's cache counts as used. 0: nothing can be
// read.
int64_t AvailableMemoryBytes();

// What this machine has in all, or the memory cgroup of this process where that is less.
int64_t TotalMemoryBytes();

// "MemAvailable:   16 kB" of /proc/meminfo, as bytes; -1: no such line.
int64_t MemInfoBytes(std::string_view meminfo, std::string_view key);

// Where this user's Trainyard lies: $TRAINYARD_HOME, else ~/.trainyard.
std::filesystem::path DefaultHome();

// The text of /proc/cpuinfo; empty when it cannot be read.
std::string ReadCpuInfo();

// The variables of the environment that hold kernels back to lesser instruction sets: ours,
// oneDNN's, MKL's and ATen's.
inline constexpr std::array kKernelVariables = {"TRAINYARD_KERNELS", "ONEDNN_MAX_CPU_ISA",
                                                "MKL_ENABLE_INSTRUCTIONS", "ATEN_CPU_CAPABILITY"};

// Whether /proc/cpuinfo's flags name bfloat16 products.
bool MultipliesBfloat16(std::string_view cpuinfo);
bool ThisMachineMultipliesBfloat16();

}  // namespace trainyard
