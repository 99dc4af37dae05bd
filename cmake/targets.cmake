# trainyard_library(NAME [TORCH|GRPC] SOURCES a.cc ... [DEPS x ...])
#   A static library. TORCH: may include ATen, GRPC: the protos' stubs (each through a shared
#   precompiled header; never both in one program).
# trainyard_program(NAME SOURCES main.cc [DEPS ...])      lands in build/bin
# trainyard_test_variant(NAME VARIANT ENVIRONMENT)      runs a test once more, as NAME_VARIANT
# trainyard_test(NAME [TORCH|GRPC] SOURCES x_test.cc ... [DEPS ...])
#   One gtest binary under build/tests, registered with ctest; scripts/test counts its cases.
function(_trainyard_apply name)
  cmake_parse_arguments(T "TORCH;GRPC" "" "SOURCES;DEPS" ${ARGN})
  target_sources(${name} PRIVATE ${T_SOURCES})
  target_link_libraries(${name} PUBLIC ${T_DEPS})
  if(T_TORCH)
    target_link_libraries(${name} PUBLIC trainyard_torch)
    target_precompile_headers(${name} REUSE_FROM trainyard_torch_pch)
  endif()
  if(T_TORCH OR T_GRPC)
    # Programs default to -fPIE, with which a precompiled header made with -fPIC is refused.
    target_compile_options(${name} PRIVATE -fPIC)
  endif()
  if(T_GRPC)
    target_link_libraries(${name} PUBLIC trainyard_proto)
    target_precompile_headers(${name} REUSE_FROM trainyard_grpc_pch)
  endif()
endfunction()

# One precompiled ATen header for every file that includes torch.
file(WRITE ${CMAKE_BINARY_DIR}/gen/torch_pch.cc "")
add_library(trainyard_torch_pch STATIC ${CMAKE_BINARY_DIR}/gen/torch_pch.cc)
target_link_libraries(trainyard_torch_pch PUBLIC trainyard_torch absl::status absl::statusor)
target_precompile_headers(trainyard_torch_pch PRIVATE
  <ATen/ATen.h> <ATen/Parallel.h> <string> <vector> <memory> <functional> <absl/status/statusor.h>)

function(trainyard_library name)
  add_library(${name} STATIC)
  _trainyard_apply(${name} ${ARGN})
endfunction()

function(trainyard_program name)
  add_executable(${name})
  _trainyard_apply(${name} ${ARGN})
endfunction()

function(trainyard_test name)
  add_executable(${name})
  _trainyard_apply(${name} ${ARGN})
  target_link_libraries(${name} PRIVATE GTest::gmock_main trainyard_test_places)
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
  add_test(NAME ${name} COMMAND ${name} --gtest_output=xml:${CMAKE_BINARY_DIR}/results/${name}.xml)
  set_tests_properties(${name} PROPERTIES TIMEOUT 600)
endfunction()

function(trainyard_test_variant name variant environment)
  add_test(NAME ${name}_${variant}
           COMMAND ${name} --gtest_output=xml:${CMAKE_BINARY_DIR}/results/${name}_${variant}.xml)
  set_tests_properties(${name}_${variant} PROPERTIES TIMEOUT 600 ENVIRONMENT "${environment}")
endfunction()
