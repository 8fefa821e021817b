// CUDA's run-time compiler without CUDA, for tests: the host compiler makes a shared
// library of the kernel's own source text, in which blocks and threads are loops. The
// "PTX" is that library's path, which the driver's double loads.

#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <regex>
#include <sstream>
#include <string>

#define API extern "C" __attribute__((visibility("default")))

namespace {

struct Program { std::string source, log, image; };

// What a kernel finds in CUDA without including anything.
const char* const PRELUDE = R"(
#define __global__
#define __device__
struct Index { unsigned x, y, z; };
static thread_local Index blockIdx, threadIdx;
static thread_local Index blockDim, gridDim;
#line 1 "kernel"
)";

// Runs all threads of all blocks, one after another.
const char* const RUNNER = R"(
extern "C" unsigned NAME__size = sizeof(TYPE);
extern "C" void NAME__run(const void* argument, const unsigned* grid, const unsigned* block)
{
    gridDim = {grid[0], grid[1], 1};
    blockDim = {block[0], block[1], 1};
    for (blockIdx.y = 0; blockIdx.y < grid[1]; ++blockIdx.y)
        for (blockIdx.x = 0; blockIdx.x < grid[0]; ++blockIdx.x)
            for (threadIdx.y = 0; threadIdx.y < block[1]; ++threadIdx.y)
                for (threadIdx.x = 0; threadIdx.x < block[0]; ++threadIdx.x)
                    NAME(*static_cast<const TYPE*>(argument));
}
)";

std::string folder()
{
    const char* given = std::getenv("EDGE_INFERENCE_DOUBLE_KERNELS");
    return given ? given : "/tmp";
}

std::string runner(const std::string& source)
{
    const std::regex kernel(R"(__global__ void (\w+)\(const (\w+) \w+\))");
    std::smatch found;
    if (!std::regex_search(source, found, kernel)) return "";
    auto text = std::regex_replace(RUNNER, std::regex("NAME"), found[1].str());
    return std::regex_replace(text, std::regex("TYPE"), found[2].str());
}

}  // namespace

API int nvrtcCreateProgram(Program** program, const char* source, const char*, int, void*, void*)
{
    *program = new Program{source, "", ""};
    return 0;
}

API int nvrtcCompileProgram(Program* program, int count, const char* const* options)
{
    if (count != 1 || std::string(options[0]).rfind("--gpu-architecture=compute_", 0) != 0) {
        program->log = "expected one option, the architecture\n";
        return 5;
    }
    const std::string tail = runner(program->source);
    if (tail.empty()) {
        program->log = "expected a kernel with one structure as its parameter\n";
        return 6;
    }
    const std::string text = PRELUDE + program->source + tail;
    std::ostringstream name;
    name << folder() << "/kernel_" << std::hash<std::string>()(text);
    const std::string library = name.str() + ".so", mine = name.str() + "." + std::to_string(getpid());
    if (access(library.c_str(), R_OK) != 0) {
        std::ofstream(mine + ".cpp") << text;
        const std::string command = "g++ -O2 -std=c++17 -shared -fPIC -Wall -Wno-unknown-pragmas -o "
            + mine + ".so " + mine + ".cpp 2> " + mine + ".log";
        const int status = std::system(command.c_str());
        std::ostringstream log;
        log << std::ifstream(mine + ".log").rdbuf();
        program->log = log.str();
        if (status != 0) return 6;
        std::rename((mine + ".so").c_str(), library.c_str());
    }
    program->image = "// compiled by the double\n" + library;
    return 0;
}

API int nvrtcGetPTXSize(Program* program, size_t* size)
{
    *size = program->image.size() + 1;
    return 0;
}
API int nvrtcGetPTX(Program* program, char* text)
{
    std::strcpy(text, program->image.c_str());
    return 0;
}
API int nvrtcGetProgramLogSize(Program* program, size_t* size)
{
    *size = program->log.size() + 1;
    return 0;
}
API int nvrtcGetProgramLog(Program* program, char* text)
{
    std::strcpy(text, program->log.c_str());
    return 0;
}
API int nvrtcDestroyProgram(Program** program)
{
    delete *program;
    *program = nullptr;
    return 0;
}
