# LibTorch is the PyPI wheel torch==2.11.0, used through our own IMPORTED targets: the wheel's
# find_package(Torch) insists on a CUDA toolkit. Only the trainer side links `trainyard_torch`.
if(NOT TRAINYARD_TORCH_SITE)
  message(FATAL_ERROR "TRAINYARD_TORCH_SITE is not set. Run scripts/build, or pass "
                      "-DTRAINYARD_TORCH_SITE=<site-packages with torch 2.11.0>.")
endif()
set(_torch ${TRAINYARD_TORCH_SITE}/torch)
if(NOT EXISTS ${_torch}/lib/libtorch_cpu.so)
  message(FATAL_ERROR "no libtorch_cpu.so under ${_torch}/lib; run scripts/setup")
endif()

# The wheel's headers bring a newer fmt, whose library it does not bring: the system's comes first.
find_path(TRAINYARD_FMT_INCLUDE fmt/format.h REQUIRED)
file(MAKE_DIRECTORY ${CMAKE_BINARY_DIR}/gen/system_fmt)
file(CREATE_LINK ${TRAINYARD_FMT_INCLUDE}/fmt ${CMAKE_BINARY_DIR}/gen/system_fmt/fmt SYMBOLIC)

add_library(trainyard_torch INTERFACE)
target_include_directories(trainyard_torch SYSTEM INTERFACE
  ${CMAKE_BINARY_DIR}/gen/system_fmt ${_torch}/include)
# at::parallel_for is a template over an OpenMP region: without -fopenmp it compiles to a plain loop.
# The flag is for compiling alone; the wheel's libgomp, which has the usual soname, is linked by path
# and stays the only OpenMP in the process (docs/decisions/0004-openmp-for-parallel-for.md).
target_compile_options(trainyard_torch INTERFACE -fopenmp)
target_link_libraries(trainyard_torch INTERFACE
  ${_torch}/lib/libtorch_cpu.so ${_torch}/lib/libc10.so ${_torch}/lib/libgomp.so.1)
# libtorch_cpu.so finds its neighbours (libgomp, cudart, cupti) by its own rpath.
target_link_options(trainyard_torch INTERFACE
  -Wl,-rpath,${_torch}/lib -Wl,--allow-shlib-undefined)

# Tests alone use autograd as their oracle; the product never does.
add_library(trainyard_torch_autograd INTERFACE)
target_link_libraries(trainyard_torch_autograd INTERFACE trainyard_torch)
target_include_directories(trainyard_torch_autograd SYSTEM INTERFACE
  ${_torch}/include/torch/csrc/api/include)
