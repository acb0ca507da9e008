# CMake toolchain: zig as cross compiler for Lambda's machines (CMAKE_TOOLCHAIN_FILE).
# The environment says where zig is and what for, since CMake reads this anew in each of its tests.
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR $ENV{PILOTLIGHT_ZIG_MACHINE})

separate_arguments(options UNIX_COMMAND "$ENV{PILOTLIGHT_ZIG_OPTIONS}")
set(CMAKE_C_COMPILER "$ENV{PILOTLIGHT_ZIG}" cc ${options})
set(CMAKE_CXX_COMPILER "$ENV{PILOTLIGHT_ZIG}" c++ ${options})

# Messages name source files: without temporary directories the same sources make the same libraries.
add_compile_options("-ffile-prefix-map=${CMAKE_SOURCE_DIR}/=" "-ffile-prefix-map=${CMAKE_BINARY_DIR}/=")

# Hosts need have no binutils.
foreach(language C CXX)
  set(CMAKE_${language}_ARCHIVE_CREATE "\"$ENV{PILOTLIGHT_ZIG}\" ar qc <TARGET> <LINK_FLAGS> <OBJECTS>")
  set(CMAKE_${language}_ARCHIVE_APPEND "\"$ENV{PILOTLIGHT_ZIG}\" ar q <TARGET> <LINK_FLAGS> <OBJECTS>")
  set(CMAKE_${language}_ARCHIVE_FINISH "\"$ENV{PILOTLIGHT_ZIG}\" ranlib <TARGET>")
endforeach()
