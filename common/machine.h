// What this machine gives a process. Text of /proc and /sys comes in as arguments where it is read.
#pragma once

#include <cstdint>
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

// Whether /proc/cpuinfo's flags name bfloat16 products.
bool MultipliesBfloat16(std::string_view cpuinfo);
bool ThisMachineMultipliesBfloat16();

}  // namespace trainyard
