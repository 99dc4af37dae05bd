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

# The same headers for both builds, so that the compiler's cache serves both; libraries of one site.
set(_torch_lib ${_torch}/lib)
if(TRAINYARD_CUDA)
  set(_nvidia ${TRAINYARD_CUDA_SITE}/nvidia)
  set(_torch_lib ${TRAINYARD_CUDA_SITE}/torch/lib)
  foreach(_needed ${_torch_lib}/libtorch_cuda.so ${_nvidia}/nccl/lib/libnccl.so.2
                  ${_nvidia}/cu13/lib/libcublas.so.13
                  ${TRAINYARD_TORCH_SITE}/nvidia/cu13/include/crt/host_defines.h
                  ${TRAINYARD_TORCH_SITE}/nvidia/cu13/include/nv/target)
    if(NOT EXISTS ${_needed})
      message(FATAL_ERROR "TRAINYARD_CUDA: no ${_needed}. TRAINYARD_CUDA_SITE must hold torch==2.11.0 "
                          "with its dependencies; scripts/build_cuda sees to all of it.")
    endif()
  endforeach()
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
  ${_torch_lib}/libtorch_cpu.so ${_torch_lib}/libc10.so ${_torch_lib}/libgomp.so.1)
if(TRAINYARD_CUDA)
  # Nothing calls into these by name: they register their kernels when they are loaded.
  target_link_libraries(trainyard_torch INTERFACE
    -Wl,--no-as-needed ${_torch_lib}/libtorch_cuda.so ${_torch_lib}/libc10_cuda.so -Wl,--as-needed)
  # For our own calls of CUDA's runtime and of NCCL.
  add_library(trainyard_cuda INTERFACE)
  target_include_directories(trainyard_cuda SYSTEM INTERFACE
    ${TRAINYARD_TORCH_SITE}/nvidia/cu13/include ${_nvidia}/nccl/include)
  target_link_libraries(trainyard_cuda INTERFACE
    ${_nvidia}/cu13/lib/libcudart.so.13 ${_nvidia}/nccl/lib/libnccl.so.2)
  target_link_options(trainyard_cuda INTERFACE
    -Wl,-rpath,${_nvidia}/cu13/lib -Wl,-rpath,${_nvidia}/nccl/lib)
endif()
# libtorch_cpu.so finds its neighbours (libgomp, cudart, cupti) by its own rpath.
target_link_options(trainyard_torch INTERFACE
  -Wl,-rpath,${_torch_lib} -Wl,--allow-shlib-undefined)

# Tests alone use autograd as their oracle; the product never does.
add_library(trainyard_torch_autograd INTERFACE)
target_link_libraries(trainyard_torch_autograd INTERFACE trainyard_torch)
target_include_directories(trainyard_torch_autograd SYSTEM INTERFACE
  ${_torch}/include/torch/csrc/api/include)
