// A CUDA driver without a GPU, for tests: the part of the driver's interface that
// pycuda and this package call. Device memory is heap memory with guards around it,
// a stream is a queue that runs when somebody waits for it, and a graph is such a
// queue kept. What a real driver forbids, or forgives but should not have to, is
// counted as misuse and refused.
//
// Declarations are our own, from the public documentation of the driver's interface.

#include "driver_state.h"

// --- the test's side ---------------------------------------------------------------

API long double_count(const char* name)
{
    Guard guard(lock);
    const std::string wanted = name;
    if (wanted == "device_memory") return device_memory.size();
    if (wanted == "device_bytes") return used_bytes();
    if (wanted == "host_memory") return host_memory.size();
    if (wanted == "streams") return streams.size();
    if (wanted == "graphs") return graphs.size();
    if (wanted == "events") return events.size();
    if (wanted == "plans") return plans.size();
    if (wanted == "modules") return modules.size();
    if (wanted == "retained") return retained;
    if (wanted == "stack") return stack.contexts.size();
    auto found = counts.find(wanted);
    return found == counts.end() ? 0 : found->second;
}

API const char* double_last_misuse() { return last_misuse.c_str(); }

API void double_fail(const char* name, int skip, int times, int code)
{
    Guard guard(lock);
    failures[name] = {skip, times, code};
}

API void double_reset()
{
    Guard guard(lock);
    if (retained == 0) {  // left by a test that lost the context
        for (auto* stream : streams) delete stream;
        for (auto* graph : graphs) delete graph;
        for (auto* plan : plans) delete plan;
        for (auto* event : events) delete event;
        streams.clear();
        graphs.clear();
        plans.clear();
        events.clear();
        modules.clear();
        device_memory.clear();
        host_memory.clear();
    }
    failures.clear();
    counts.clear();
    last_misuse.clear();
    memory_limit = 1L << 30;
    device_count = 1;
    major_version = 8;
    minor_version = 7;
    lost = false;
}

API void double_set_memory(long bytes) { memory_limit = bytes; }
API void double_set_devices(int count) { device_count = count; }
API void double_set_compute_capability(int major, int minor)
{
    major_version = major;
    minor_version = minor;
}

API int double_is_capturing(Stream* stream)
{
    Guard guard(lock);
    return streams.count(stream) && stream->capturing;
}

API int double_stream_priority(Stream* stream)
{
    Guard guard(lock);
    return streams.count(stream) ? stream->priority : 99;
}

API int double_holds(Pointer address, size_t size, int on_host)
{
    Guard guard(lock);
    return holds(on_host ? host_memory : device_memory, address, size);
}

// Queues work of the test's own, which is told when it will not run any more.
API int double_enqueue(Stream* stream, void (*run)(long), void (*release)(long), long token)
{
    Guard guard(lock);
    std::shared_ptr<void> owned(nullptr, [=](void*) { release(token); });
    return enqueue(stream, {[=] { run(token); }, owned});
}

// --- the driver's side --------------------------------------------------------------

API int cuInit(unsigned)
{
    BEGIN();
    initialized = true;
    return device_count ? SUCCESS : NO_DEVICE;
}
API int cuDriverGetVersion(int* version) { BEGIN(); *version = 12060; return SUCCESS; }
API int cuDeviceGetCount(int* count) { BEGIN(); *count = device_count; return SUCCESS; }
API int cuDeviceGet(int* device, int ordinal)
{
    BEGIN();
    if (!initialized) return misuse("cuDeviceGet before cuInit", NOT_INITIALIZED);
    *device = ordinal;
    return ordinal < device_count ? SUCCESS : INVALID_DEVICE;
}
API int cuDeviceGetName(char* name, int size, int)
{
    BEGIN();
    std::strncpy(name, "Double", size);
    return SUCCESS;
}
API int cuDeviceComputeCapability(int* major, int* minor, int)
{
    BEGIN();
    *major = major_version;
    *minor = minor_version;
    return SUCCESS;
}
API int cuDeviceTotalMem_v2(size_t* bytes, int) { BEGIN(); *bytes = memory_limit; return SUCCESS; }
API int cuDeviceGetAttribute(int* value, int attribute, int)
{
    BEGIN();
    *value = attribute == 75 ? major_version : attribute == 76 ? minor_version : 0;
    return SUCCESS;
}
API int cuGetErrorString(int code, const char** text)
{
    *text = code == OUT_OF_MEMORY ? "out of memory"
        : code == LAUNCH_FAILED ? "unspecified launch failure"
        : code == NO_DEVICE ? "no CUDA-capable device is detected" : "a failure of the double";
    return SUCCESS;
}

API int cuDevicePrimaryCtxRetain(void** context, int)
{
    BEGIN();
    ++retained;
    *context = &primary_context;
    return SUCCESS;
}
API int cuDevicePrimaryCtxRelease_v2(int)
{
    BEGIN();
    if (retained == 0) return misuse("primary context released too often", INVALID_CONTEXT);
    if (--retained == 0
        && (!device_memory.empty() || !host_memory.empty() || !streams.empty() || !graphs.empty()
            || !modules.empty() || !events.empty())) {
        misuse("primary context released before what was made in it", SUCCESS);
    }
    return SUCCESS;
}
API int cuDevicePrimaryCtxGetState(int, unsigned* flags, int* active)
{
    BEGIN();
    *flags = 0;
    *active = retained > 0;
    return SUCCESS;
}
API int cuCtxPushCurrent_v2(void* context)
{
    BEGIN();
    if (context != &primary_context || retained == 0) {
        return misuse("a context that is not retained is made current", INVALID_CONTEXT);
    }
    stack.contexts.push_back(context);
    return SUCCESS;
}
API int cuCtxPopCurrent_v2(void** context)
{
    BEGIN();
    if (stack.contexts.empty()) return INVALID_CONTEXT;
    *context = stack.contexts.back();
    stack.contexts.pop_back();
    return SUCCESS;
}
API int cuCtxSynchronize()
{
    {
        BEGIN_IN_CONTEXT();
        if (int code = refuse_while_capturing(__func__)) return code;
    }
    drain_all();
    return SUCCESS;
}
API int cuCtxGetStreamPriorityRange(int* least, int* greatest)
{
    BEGIN_IN_CONTEXT();
    *least = 0;
    *greatest = -5;
    return SUCCESS;
}

API int cuMemGetInfo_v2(size_t* free, size_t* total)
{
    BEGIN_IN_CONTEXT();
    *free = memory_limit - used_bytes();
    *total = memory_limit;
    return SUCCESS;
}
API int cuMemAlloc_v2(Pointer* address, size_t size)
{
    BEGIN_IN_CONTEXT();
    if (int code = refuse_while_capturing(__func__)) return code;
    if (size == 0) return INVALID_VALUE;
    if (used_bytes() + long(size) > memory_limit) return OUT_OF_MEMORY;
    *address = take(device_memory, size);
    return SUCCESS;
}
API int cuMemFree_v2(Pointer address)
{
    {
        BEGIN_IN_CONTEXT();
        if (int code = refuse_while_capturing(__func__)) return code;
    }
    drain_all();  // as the real one waits
    Guard guard(lock);
    return give_back(device_memory, address, "cuMemFree");
}
API int cuMemHostAlloc(void** address, size_t size, unsigned)
{
    BEGIN_IN_CONTEXT();
    if (int code = refuse_while_capturing(__func__)) return code;
    if (size == 0) return INVALID_VALUE;
    *address = reinterpret_cast<void*>(take(host_memory, size));
    return SUCCESS;
}
API int cuMemFreeHost(void* address)
{
    {
        BEGIN_IN_CONTEXT();
        if (int code = refuse_while_capturing(__func__)) return code;
    }
    drain_all();
    Guard guard(lock);
    return give_back(host_memory, reinterpret_cast<Pointer>(address), "cuMemFreeHost");
}

API int cuStreamCreateWithPriority(Stream** stream, unsigned flags, int priority)
{
    BEGIN_IN_CONTEXT();
    if (flags != 1) misuse("a stream that waits for the default stream", SUCCESS);
    *stream = new Stream;
    (*stream)->priority = priority;
    streams.insert(*stream);
    return SUCCESS;
}
API int cuStreamDestroy_v2(Stream* stream)
{
    {
        BEGIN_IN_CONTEXT();
        if (!streams.count(stream)) return misuse("destroys no live stream", INVALID_HANDLE);
        if (!stream->queue.empty()) misuse("a stream is destroyed with work in it", SUCCESS);
        streams.erase(stream);
    }
    delete stream;
    return SUCCESS;
}
API int cuStreamSynchronize(Stream* stream)
{
    {
        BEGIN_IN_CONTEXT();
        if (!streams.count(stream)) return misuse("waits for no live stream", INVALID_HANDLE);
        if (stream->capturing) {
            stream->broken = true;
            return misuse("waits for a stream that is recorded", CAPTURE_UNSUPPORTED);
        }
    }
    return drain(stream);
}
API int cuMemcpyHtoDAsync_v2(Pointer to, const void* from, size_t size, Stream* stream)
{
    BEGIN_IN_CONTEXT();
    return enqueue_copy(stream, to, reinterpret_cast<Pointer>(from), size, true, __func__);
}
API int cuMemcpyDtoHAsync_v2(void* to, Pointer from, size_t size, Stream* stream)
{
    BEGIN_IN_CONTEXT();
    return enqueue_copy(stream, reinterpret_cast<Pointer>(to), from, size, false, __func__);
}

// An image is two lines: a mark, and the shared library that libnvrtc's double compiled.
API int cuModuleLoadData(Module** module, const char* image)
{
    BEGIN_IN_CONTEXT();
    const std::string text = image, mark = "// compiled by the double\n";
    if (text.compare(0, mark.size(), mark) != 0) return INVALID_IMAGE;
    void* library = dlopen(text.substr(mark.size()).c_str(), RTLD_NOW | RTLD_LOCAL);
    if (library == nullptr) return INVALID_IMAGE;
    *module = new Module{library};
    modules.insert(*module);
    return SUCCESS;
}
API int cuModuleUnload(Module* module)
{
    BEGIN_IN_CONTEXT();
    if (!modules.erase(module)) return misuse("unloads no live module", INVALID_HANDLE);
    for (auto entry = functions.begin(); entry != functions.end();) {
        entry = entry->first.first == module ? functions.erase(entry) : std::next(entry);
    }
    dlclose(module->library);
    delete module;
    return SUCCESS;
}
API int cuModuleGetFunction(Function** function, Module* module, const char* name)
{
    BEGIN_IN_CONTEXT();
    if (!modules.count(module)) return misuse("a function of no live module", INVALID_HANDLE);
    auto run = dlsym(module->library, (std::string(name) + "__run").c_str());
    auto size = dlsym(module->library, (std::string(name) + "__size").c_str());
    if (run == nullptr || size == nullptr) return NOT_FOUND;
    auto& found = functions[{module, name}];
    found.reset(new Function{reinterpret_cast<decltype(Function::run)>(run),
                             *static_cast<unsigned*>(size)});
    *function = found.get();
    return SUCCESS;
}
API int cuLaunchKernel(Function* function, unsigned gx, unsigned gy, unsigned gz, unsigned bx,
                       unsigned by, unsigned bz, unsigned, Stream* stream, void** arguments, void**)
{
    BEGIN_IN_CONTEXT();
    if (bx * by * bz > 1024 || !gx || !gy || gz != 1 || bz != 1) return INVALID_VALUE;
    auto* bytes = static_cast<const unsigned char*>(arguments[0]);
    std::vector<unsigned char> argument(bytes, bytes + function->argument_size);
    return enqueue(stream, {[=] {
        const unsigned grid[2] = {gx, gy}, block[2] = {bx, by};
        function->run(argument.data(), grid, block);
    }, nullptr});
}

API int cuStreamBeginCapture_v2(Stream* stream, int)
{
    BEGIN_IN_CONTEXT();
    if (!streams.count(stream)) return misuse("records no live stream", CAPTURE_UNSUPPORTED);
    if (stream->capturing) return misuse("records a stream twice", INVALID_VALUE);
    stream->capturing = true;
    stream->broken = false;
    capturing_here = stream;
    return SUCCESS;
}
API int cuStreamEndCapture(Stream* stream, Plan** plan)
{
    Guard guard(lock);
    *plan = nullptr;
    if (!streams.count(stream) || !stream->capturing) return INVALID_VALUE;
    std::vector<Operation> recorded;
    recorded.swap(stream->recorded);
    stream->capturing = false;
    capturing_here = nullptr;
    if (int code = begin_in_context(__func__)) return code;
    if (stream->broken) return CAPTURE_INVALIDATED;
    *plan = new Plan{recorded};
    plans.insert(*plan);
    return SUCCESS;
}
API int cuGraphInstantiateWithFlags(Plan** graph, Plan* plan, unsigned long long)
{
    BEGIN_IN_CONTEXT();
    if (!plans.count(plan)) return misuse("a graph of no live plan", INVALID_HANDLE);
    *graph = new Plan(*plan);
    graphs.insert(*graph);
    return SUCCESS;
}
API int cuGraphLaunch(Plan* graph, Stream* stream)
{
    BEGIN_IN_CONTEXT();
    if (!graphs.count(graph)) return misuse("launches no live graph", INVALID_HANDLE);
    for (auto& operation : graph->operations) {
        if (int code = enqueue(stream, operation)) return code;
    }
    return SUCCESS;
}
static int destroy(std::set<Plan*>& all, Plan* plan)
{
    {
        Guard guard(lock);
        if (!all.erase(plan)) return misuse("destroys no live graph", INVALID_HANDLE);
    }
    delete plan;
    return SUCCESS;
}
API int cuGraphDestroy(Plan* plan)
{
    { BEGIN_IN_CONTEXT(); }
    return destroy(plans, plan);
}
API int cuGraphExecDestroy(Plan* graph)
{
    { BEGIN_IN_CONTEXT(); }
    return destroy(graphs, graph);
}

API int cuEventCreate(Event** event, unsigned flags)
{
    BEGIN_IN_CONTEXT();
    if (flags != 0) misuse("an event without a time", SUCCESS);
    *event = new Event;
    events.insert(*event);
    return SUCCESS;
}
API int cuEventDestroy_v2(Event* event)
{
    BEGIN_IN_CONTEXT();
    if (!events.erase(event)) return misuse("destroys no live event", INVALID_HANDLE);
    delete event;
    return SUCCESS;
}
API int cuEventRecord(Event* event, Stream* stream)
{
    BEGIN_IN_CONTEXT();
    if (!events.count(event)) return misuse("records no live event", INVALID_HANDLE);
    if (streams.count(stream) && stream->capturing) misuse("an event with a time in a graph", SUCCESS);
    event->recorded = false;
    return enqueue(stream, {[=] {
        event->at = std::chrono::steady_clock::now();
        event->recorded = true;
    }, nullptr});
}
API int cuEventElapsedTime(float* ms, Event* begin, Event* end)
{
    BEGIN_IN_CONTEXT();
    if (!events.count(begin) || !events.count(end)) return misuse("no live event", INVALID_HANDLE);
    if (!begin->recorded || !end->recorded) return NOT_READY;
    *ms = std::chrono::duration<float, std::milli>(end->at - begin->at).count();
    return SUCCESS;
}

// What pycuda links to and nobody calls; the build names the functions.
#define UNUSED(name) API int name() { return misuse(#name " is not part of the double", NOT_SUPPORTED); }
#include "unused.inc"
