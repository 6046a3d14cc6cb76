// Blocks of a grid, one after the other, and their threads in turn. A thread runs until it waits for its warp or block;
// then another stack goes on with the threads that have not started. So kernels that never wait run as plain loops.

#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

// As in prelude.h.
struct EskerLaunch {
    unsigned next, threads;
    unsigned block[3], blocks[3];
    void **args;
    unsigned char *shared;
    unsigned long long *(*wait)(unsigned thread, int all, int line, unsigned long long value);
    void (*fail)(const char *why);
};

namespace {

const unsigned MOST = 1024;
const size_t STACK = 256 << 10;

enum State { DONE, WARP, BLOCK };

struct Fiber {
    ucontext_t context;
    jmp_buf at;
    bool made, started;
};

struct Warp {
    unsigned long long values[2][32];
    int turn;
    unsigned waiting;
};

EskerLaunch *launch;
void (*run_threads)(EskerLaunch *);
jmp_buf scheduler;
Fiber fibers[MOST];
Fiber *by_thread[MOST]; // Of threads that wait.
State state[MOST];
int line_of[MOST];
Warp warps[MOST / 32];
Fiber *now;
unsigned used; // Fibers that belong to a waiting thread, or did in this block.
char message[256];

void body() {
    for (;;) {
        run_threads(launch);
        if (!_setjmp(now->at)) _longjmp(scheduler, 1);
    }
}

// Runs a fiber until its thread waits or has nothing left to do.
void enter(Fiber *fiber) {
    now = fiber;
    if (_setjmp(scheduler)) return;
    if (fiber->started) _longjmp(fiber->at, 1);
    if (!fiber->made) {
        void *stack = mmap(0, STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (stack == MAP_FAILED) abort();
        getcontext(&fiber->context);
        fiber->context.uc_stack.ss_sp = stack;
        fiber->context.uc_stack.ss_size = STACK;
        fiber->context.uc_link = 0;
        makecontext(&fiber->context, body, 0);
        fiber->made = true;
    }
    fiber->started = true;
    setcontext(&fiber->context);
}

unsigned long long *wait_for(unsigned thread, int all, int line, unsigned long long value) {
    Warp &warp = warps[thread / 32];
    unsigned long long *values = warp.values[warp.turn];
    values[thread % 32] = value;
    state[thread] = all ? BLOCK : WARP;
    line_of[thread] = line;
    by_thread[thread] = now;
    if (!_setjmp(now->at)) _longjmp(scheduler, 1);
    return values;
}

void fail(const char *why) {
    snprintf(message, sizeof message, "%s (in or after block %u, %u, %u)", why, launch->block[0], launch->block[1],
             launch->block[2]);
    _longjmp(scheduler, 2);
}

// Lets a thread that waited go on; false when the kernel is at fault.
bool resume(unsigned thread) {
    state[thread] = DONE; // Until it waits again.
    enter(by_thread[thread]);
    return !message[0];
}

bool wrong(const char *why, unsigned thread) {
    snprintf(message, sizeof message, "%s (thread %u of block %u, %u, %u)", why, thread, launch->block[0],
             launch->block[1], launch->block[2]);
    return false;
}

// Whether all threads of a range wait for the same; `none` when none waits.
bool agree(unsigned from, unsigned to, State &common) {
    common = state[from];
    for (unsigned t = from + 1; t < to; t++) {
        if (state[t] != common) {
            bool ended = state[t] == DONE || common == DONE;
            return wrong(ended ? "some threads ended while others wait for them"
                               : "some threads of a warp wait for the warp and others for the block", t);
        }
        if (line_of[t] != line_of[from]) return wrong("threads wait in different lines for each other", t);
    }
    return true;
}

// ---- memory: between pages that nobody may touch, so that a kernel that leaves it is found out

size_t pages(size_t bytes) {
    size_t page = sysconf(_SC_PAGESIZE);
    return (bytes + page - 1) / page * page;
}

// Ends at the end of a page, as far as the alignment of packs of elements allows.
unsigned char *fenced(size_t bytes, unsigned char unwritten) {
    size_t size = pages(bytes), page = pages(1);
    void *all = mmap(0, size + 2 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (all == MAP_FAILED) return 0;
    unsigned char *start = (unsigned char *)all + page;
    if (mprotect(start, size, PROT_READ | PROT_WRITE)) {
        munmap(all, size + 2 * page);
        return 0;
    }
    memset(start, unwritten, size);
    return start + size - (bytes + 15) / 16 * 16;
}

void unfence(unsigned char *at, size_t bytes) {
    size_t page = pages(1);
    unsigned char *end = at + (bytes + 15) / 16 * 16;
    munmap(end - pages(bytes) - page, pages(bytes) + 2 * page);
}

// ---- signals that a kernel raises are its errors; all others go where they went before

const int CAUGHT[] = {SIGSEGV, SIGBUS, SIGFPE};
struct sigaction before[3];
thread_local bool in_kernel;

void caught(int signal, siginfo_t *info, void *context) {
    if (!in_kernel) {
        for (int i = 0; i < 3; i++)
            if (CAUGHT[i] == signal) sigaction(signal, &before[i], 0);
        return; // And happens again.
    }
    if (signal == SIGFPE) {
        snprintf(message, sizeof message, "an integer is divided by zero");
    } else {
        snprintf(message, sizeof message, "it touches %p, which is not its memory", info->si_addr);
    }
    size_t end = strlen(message);
    snprintf(message + end, sizeof message - end, " (in or before thread %u of block %u, %u, %u)", launch->next - 1,
             launch->block[0], launch->block[1], launch->block[2]);
    _longjmp(scheduler, 2);
}

void catch_signals(bool on) {
    in_kernel = on;
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_sigaction = caught;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
    for (int i = 0; i < 3; i++) sigaction(CAUGHT[i], on ? &action : &before[i], on ? &before[i] : 0);
}

bool run_block() {
    used = 0;
    launch->next = 0;
    memset(state, 0, launch->threads * sizeof *state);
    memset(line_of, 0, launch->threads * sizeof *line_of);
    while (launch->next < launch->threads) {
        enter(&fibers[used]);
        if (message[0]) return false;
        // It stopped in the thread that started last, or after all.
        if (state[launch->next - 1] == DONE) break;
        used++;
    }
    if (used == 0) return true;
    unsigned count = launch->threads;
    for (;;) {
        for (unsigned from = 0; from < count; from += 32) {
            unsigned to = from + 32 < count ? from + 32 : count;
            State common;
            for (;;) {
                if (!agree(from, to, common)) return false;
                if (common != WARP) break;
                if (to - from < 32) return wrong("a shuffle in a warp of fewer than 32 threads", from);
                warps[from / 32].turn ^= 1;
                for (unsigned t = from; t < to; t++) {
                    line_of[t] = 0;
                    if (!resume(t)) return false;
                }
            }
        }
        State common;
        if (!agree(0, count, common)) return false;
        if (common == DONE) return true;
        for (unsigned t = 0; t < count; t++) {
            line_of[t] = 0;
            if (!resume(t)) return false;
        }
    }
}

} // namespace

extern "C" unsigned char *esker_alloc(size_t bytes, unsigned char unwritten) { return fenced(bytes, unwritten); }
extern "C" void esker_free(unsigned char *at, size_t bytes) { unfence(at, bytes); }

extern "C" const char *esker_run(void (*threads)(EskerLaunch *), EskerLaunch *given) {
    message[0] = 0;
    launch = given;
    launch->wait = wait_for;
    launch->fail = fail;
    run_threads = threads;
    if (launch->threads == 0 || launch->threads > MOST) return "blocks have 1 to 1024 threads";
    unsigned *block = launch->block, *blocks = launch->blocks;
    bool fine = true;
    catch_signals(true);
    for (block[2] = 0; fine && block[2] < blocks[2]; block[2]++)
        for (block[1] = 0; fine && block[1] < blocks[1]; block[1]++)
            for (block[0] = 0; fine && block[0] < blocks[0]; block[0]++) fine = run_block();
    catch_signals(false);
    if (fine) return 0;
    // Threads in the middle of a kernel are given up.
    for (Fiber &fiber : fibers) {
        if (fiber.made) munmap(fiber.context.uc_stack.ss_sp, STACK);
        fiber.made = fiber.started = false;
    }
    return message;
}
