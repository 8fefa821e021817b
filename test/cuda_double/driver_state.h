// What the CUDA driver's double keeps: memory, streams, graphs, counters, failures on demand.
// Part of libcuda.cpp, for which alone it is written.

#pragma once

#include <dlfcn.h>

#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#define API extern "C" __attribute__((visibility("default")))

namespace {

enum Result {
    SUCCESS = 0, INVALID_VALUE = 1, OUT_OF_MEMORY = 2, NOT_INITIALIZED = 3, NO_DEVICE = 100,
    INVALID_DEVICE = 101, INVALID_IMAGE = 200, INVALID_CONTEXT = 201, INVALID_HANDLE = 400,
    NOT_FOUND = 500, NOT_READY = 600, LAUNCH_FAILED = 719, NOT_SUPPORTED = 801, CAPTURE_UNSUPPORTED = 900,
    CAPTURE_INVALIDATED = 901,
};

using Guard = std::lock_guard<std::recursive_mutex>;
using Pointer = uintptr_t;

const size_t GUARD = 64;
const unsigned char GUARD_BYTE = 0xA5, FRESH_BYTE = 0xCD;

struct Operation {
    std::function<void()> run;
    std::shared_ptr<void> owned;  // freed with the last graph or queue that holds it
};

struct Stream {
    std::vector<Operation> queue, recorded;
    bool capturing = false, broken = false;
    int priority = 0;
};
struct Event { std::chrono::steady_clock::time_point at; bool recorded = false; };
struct Plan { std::vector<Operation> operations; };
struct Module { void* library; };
struct Function {
    void (*run)(const void*, const unsigned*, const unsigned*);
    unsigned argument_size;
};
struct Failure { int skip, times, code; };

std::recursive_mutex lock;
std::map<Pointer, size_t> device_memory, host_memory;
std::set<Stream*> streams;
std::set<Plan*> plans, graphs;
std::set<Event*> events;
std::set<Module*> modules;
std::map<std::pair<Module*, std::string>, std::unique_ptr<Function>> functions;
std::map<std::string, long> counts;
std::map<std::string, Failure> failures;
std::string last_misuse;
long memory_limit = 1L << 30;
int device_count = 1, major_version = 8, minor_version = 7, retained = 0;
bool initialized = false, lost = false;
char primary_context;  // its address is the context's handle

struct Stack {
    std::vector<void*> contexts;
    ~Stack()
    {
        if (!contexts.empty()) ++counts["stacks_left"];
    }
};
thread_local Stack stack;
thread_local Stream* capturing_here = nullptr;

int misuse(const std::string& what, int code)
{
    Guard guard(lock);
    ++counts["misuses"];
    last_misuse = what;
    return code;
}

// Every function begins with this: counts the call and tells an injected failure.
int begin(const char* name)
{
    ++counts[name];
    auto found = failures.find(name);
    if (found == failures.end()) return SUCCESS;
    Failure& failure = found->second;
    if (failure.skip-- > 0) return SUCCESS;
    if (failure.times-- > 0) {
        if (failure.code == LAUNCH_FAILED) lost = true;
        return failure.code;
    }
    failures.erase(found);
    return SUCCESS;
}

int begin_in_context(const char* name)
{
    if (int code = begin(name)) return code;
    if (stack.contexts.empty()) return misuse(std::string(name) + " without a context", INVALID_CONTEXT);
    return lost ? LAUNCH_FAILED : SUCCESS;
}

#define BEGIN() Guard guard(lock); if (int code = begin(__func__)) return code
#define BEGIN_IN_CONTEXT() Guard guard(lock); if (int code = begin_in_context(__func__)) return code

// A thread that records must not allocate or wait: that breaks the recording.
int refuse_while_capturing(const char* name)
{
    if (capturing_here == nullptr) return SUCCESS;
    capturing_here->broken = true;
    return misuse(std::string(name) + " while recording", CAPTURE_UNSUPPORTED);
}

bool holds(const std::map<Pointer, size_t>& memory, Pointer address, size_t size)
{
    auto next = memory.upper_bound(address);
    if (next == memory.begin()) return false;
    auto found = std::prev(next);
    return address + size <= found->first + found->second;
}

long used_bytes()
{
    long used = 0;
    for (auto& entry : device_memory) used += entry.second;
    return used;
}

Pointer take(std::map<Pointer, size_t>& memory, size_t size)
{
    auto* raw = static_cast<unsigned char*>(aligned_alloc(256, (size + 2 * 256 + 255) / 256 * 256));
    std::memset(raw, GUARD_BYTE, 256);
    std::memset(raw + 256, FRESH_BYTE, size);
    std::memset(raw + 256 + size, GUARD_BYTE, GUARD);
    memory[reinterpret_cast<Pointer>(raw + 256)] = size;
    ++counts["allocations"];
    return reinterpret_cast<Pointer>(raw + 256);
}

int give_back(std::map<Pointer, size_t>& memory, Pointer address, const char* name)
{
    auto found = memory.find(address);
    if (found == memory.end()) return misuse(std::string(name) + " of no live memory", INVALID_VALUE);
    auto* begin = reinterpret_cast<unsigned char*>(address);
    for (size_t offset = 0; offset < GUARD; ++offset) {
        if (begin[found->second + offset] != GUARD_BYTE || begin[-1 - long(offset)] != GUARD_BYTE) {
            misuse("memory was written beyond its end", SUCCESS);
            break;
        }
    }
    std::memset(begin, FRESH_BYTE, found->second);
    std::free(begin - 256);
    memory.erase(found);
    return SUCCESS;
}

// Runs a stream's queue. The lock is not held meanwhile: operations call back into Python.
int drain(Stream* stream)
{
    std::vector<Operation> queue;
    {
        Guard guard(lock);
        queue.swap(stream->queue);
    }
    for (auto& operation : queue) operation.run();
    Guard guard(lock);
    return lost ? LAUNCH_FAILED : SUCCESS;
}

void drain_all()
{
    std::vector<Stream*> all;
    {
        Guard guard(lock);
        all.assign(streams.begin(), streams.end());
    }
    for (auto* stream : all) drain(stream);
}

int enqueue(Stream* stream, Operation operation)
{
    if (!streams.count(stream)) return misuse("work on no live stream", INVALID_HANDLE);
    (stream->capturing ? stream->recorded : stream->queue).push_back(std::move(operation));
    return SUCCESS;
}

int enqueue_copy(Stream* stream, Pointer to, Pointer from, size_t size, bool in, const char* name)
{
    auto check = [=] {
        Guard guard(lock);
        bool right = holds(in ? device_memory : host_memory, to, size)
            && holds(in ? host_memory : device_memory, from, size);
        if (!right) misuse(std::string(name) + " outside live memory", SUCCESS);
        return right;
    };
    if (size == 0 || !check()) return INVALID_VALUE;
    return enqueue(stream, {[=] {
        if (check()) std::memmove(reinterpret_cast<void*>(to), reinterpret_cast<void*>(from), size);
    }, nullptr});
}

}  // namespace
