# ccache (kept outside the build tree, so a fresh clone starts warm), mold, warnings as errors.
find_program(TRAINYARD_CCACHE ccache)
if(TRAINYARD_CCACHE)
  # Precompiled headers need the two sloppiness flags; basedir makes hits independent of the clone.
  set(CMAKE_CXX_COMPILER_LAUNCHER
      ${CMAKE_COMMAND} -E env CCACHE_SLOPPINESS=pch_defines,time_macros
      CCACHE_BASEDIR=${CMAKE_SOURCE_DIR} CCACHE_NOHASHDIR=1 ${TRAINYARD_CCACHE})
endif()
find_program(TRAINYARD_MOLD mold)
if(TRAINYARD_MOLD)
  # Segments that begin pages of their own: mold 1.10 starts a program's RELRO in an unmapped page
  # when the text ends in the last seven bytes of one, and the program does not load.
  add_link_options(-fuse-ld=mold -Wl,-z,separate-loadable-segments)
endif()

add_compile_options(-Wall -Wextra -Werror -fpch-preprocess)
if(TRAINYARD_SANITIZE)
  add_compile_options(-fsanitize=${TRAINYARD_SANITIZE} -fno-omit-frame-pointer)
  add_link_options(-fsanitize=${TRAINYARD_SANITIZE})
endif()
include_directories(${CMAKE_SOURCE_DIR} ${CMAKE_BINARY_DIR}/gen)

find_package(Threads REQUIRED)
find_package(absl REQUIRED)
find_package(fmt REQUIRED)
find_package(spdlog REQUIRED)
find_package(nlohmann_json REQUIRED)
find_package(OpenSSL REQUIRED)
find_package(GTest REQUIRED)
find_package(Protobuf REQUIRED)
find_package(gRPC CONFIG REQUIRED)
