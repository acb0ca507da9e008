# Read at the start of llama.cpp's own project (CMAKE_PROJECT_llama.cpp_INCLUDE).

# Half of the compiling, for nothing that the Python package loads.
set(LLAMA_BUILD_COMMON OFF)

# One file for each library. Else a wheel, which has no links, holds each three times, and a process
# loads two of them: libggml.so by its path, libggml.so.0 because libllama.so needs it.
set(CMAKE_PLATFORM_NO_VERSIONED_SONAME ON)
