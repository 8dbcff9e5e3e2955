"""Shows pirn's coroutines in gdb: in a live process and in a core file, of debug and release builds.

    gdb -p PID -x tools/pirn-gdb.py        or, within gdb:  source tools/pirn-gdb.py

    pirn coroutines [TEXT]   all coroutines, or those whose line has TEXT in it
    pirn bt ID|all [TEXT]    where one is, or each, without the runtime's own calls around it
    pirn bt full ID|all ...  with them
    pirn switch ID           makes gdb's own commands (bt, up, frame, info locals) show one
    pirn back                ends that

Nothing is written to the process. A coroutine that does not run is shown by an unwinder: it says
that the selected thread's newest frame, which is left out, was called from where the coroutine is
suspended. What the coroutine's callers kept in other registers than those that a switch keeps was
saved by themselves, so gdb finds it.

What is read is described in src/sched/machine/debugger.rs. x86-64 and aarch64.
"""

import re
import struct

import gdb
import gdb.unwinder

MAGIC = b"pirn-gdb"
VERSION = 4
# The file of the sample of a place.
OWN_PLACE = "sched/machine/debugger.rs"
# More in one list than a process has room for: a list that goes on was read while it was changed.
ENDLESS = 100_000_000

ROOT = struct.Struct("<8sIIQ14IIIQQIIIIQQQIIIIII")
ENTRY = struct.Struct("<15Q")
SHAPE = (
    "size park home link lineage id spawned_at name switch switch_size suspender request class_ caller"
).split()


class Confused(gdb.GdbError):
    pass


def read(address, length):
    try:
        return bytes(gdb.selected_inferior().read_memory(address, length))
    except gdb.MemoryError as error:
        raise Confused("no memory at %#x: %s" % (address, error)) from None


def word(address):
    return struct.unpack("<Q", read(address, 8))[0]


def text(start, length):
    return read(start, length).decode("utf-8", "replace") if length else ""


class Root:
    """One copy of pirn in the program."""

    def __init__(self, address):
        fields = ROOT.unpack(read(address, ROOT.size))
        (_, self.version, size, self.first), fields = fields[:4], fields[4:]
        if self.version != VERSION or size != ROOT.size:
            raise Confused(
                "this script is for version %d of pirn's debugging data, not %d"
                % (VERSION, self.version)
            )
        shape, fields = dict(zip(SHAPE, fields)), fields[len(SHAPE) :]
        self.__dict__.update(shape)
        classes, reasons, sizes, names = fields[:4]
        self.descriptor, self.read, self.select, self.send = fields[4:8]
        place, file, length, line, column, self.migrating, self.reason, self.started, self.block = fields[8:]
        self.sizes = struct.unpack("<%dQ" % classes, read(sizes, 8 * classes))
        pairs = struct.unpack("<%dQ" % (2 * reasons), read(names, 16 * reasons))
        self.reasons = [text(*pair) for pair in zip(pairs[::2], pairs[1::2])]
        self.learn_places(place, file, length, line, column)

        # Where this crate's sources are, as the compiler was told.
        self.sources = text(file, length)[: -len(OWN_PLACE)]

    def learn_places(self, place, file, length, line, column):
        """Finds out how the compiler lays out a place in the source."""
        sample = read(place, 24)
        words = struct.unpack("<3Q", sample)
        halves = struct.unpack("<6I", sample)
        self.file = words.index(file)
        # The compiler may count a zero behind the name.
        self.extra = 0 if length in words else 1
        self.length = words.index(length + self.extra)
        taken = {2 * self.file, 2 * self.file + 1, 2 * self.length, 2 * self.length + 1}
        self.line, self.column = (
            next(i for i in range(6) if i not in taken and halves[i] == value)
            for value in (line, column)
        )

    def place(self, address):
        if not address:
            return "?"
        sample = read(address, 24)
        words = struct.unpack("<3Q", sample)
        halves = struct.unpack("<6I", sample)
        file = text(words[self.file], words[self.length] - self.extra)
        return "%s:%d:%d" % (file, halves[self.line], halves[self.column])

    def machines(self):
        address = self.first
        for _ in range(ENDLESS):
            if not address:
                return
            machine = Machine(self, address)
            address = machine.next
            yield machine


def roots():
    found, known = [], set()
    for line in gdb.execute("info files", to_string=True).splitlines():
        section = re.match(r"\s*0x([0-9a-f]+) - 0x([0-9a-f]+) is \.pirn\.gdb", line)
        # A remote target has the program's sections, and its file has them again.
        if section and section.groups() not in known:
            known.add(section.groups())
            start, end = (int(part, 16) for part in section.groups())
            memory = read(start, end - start)
            at = memory.find(MAGIC)
            while at >= 0:
                found.append(Root(start + at))
                at = memory.find(MAGIC, at + len(MAGIC))
    if not found:
        raise gdb.GdbError("no section .pirn.gdb: is the program there, and does it use pirn?")
    return found


class Machine:
    def __init__(self, root, address):
        self.root = root
        (
            self.next,
            self.runtime,
            name,
            length,
            self.number,
            self.thread,
            current,
            residents,
            ready,
            next_start,
            _,
            spawned,
            finished,
            spawned_outside,
            retired_live,
        ) = ENTRY.unpack(read(address, ENTRY.size))
        self.name = text(name, length)
        self.current, self.residents = word(current), self.table(residents)
        self.callers = self.those_who_call()
        self.ready, self.next_start = word(ready), word(next_start)
        self.balance = word(spawned) - word(finished)
        # What the machines of a runtime have in common.
        self.others = word(spawned_outside) + word(retired_live)

    def table(self, address):
        blocks, end = struct.unpack("<2Q", read(address, 16))
        places = []
        for begin in range(0, end, self.root.block):
            count = min(self.root.block, end - begin)
            block = word(blocks + 8 * (begin // self.root.block))
            places += struct.unpack("<%dQ" % count, read(block, 8 * count))
        return [place for place in reversed(places) if place & 1 == 0]

    def those_who_call(self):
        """Whom the running one returns to, the innermost first: each runs the next in its own join."""
        callers = []
        address = self.current
        while address and len(callers) < ENDLESS:
            started = word(address + self.root.started)
            address = word(started + self.root.caller) if started else 0
            if address:
                callers.append(address)
        return callers

    def coroutines(self):
        """Those that live here, and those at hand that have not started."""
        seen = set(self.residents)
        for address in self.residents:
            yield Coroutine(self, address)
        address = self.ready
        for _ in range(ENDLESS):
            if not address:
                break
            one = Coroutine(self, address)
            if one.unstarted and address not in seen:
                seen.add(address)
                yield one
            address = one.word(self.root.link)
        if self.next_start and self.next_start not in seen:
            seen.add(self.next_start)
            yield Coroutine(self, self.next_start)
        # One that migrates runs here without living here, and so does one that was called.
        for address in [self.current] + self.callers:
            if address and address not in seen:
                yield Coroutine(self, address)


class Coroutine:
    def __init__(self, machine, address):
        self.machine, self.root, self.address = machine, machine.root, address
        self.header = read(address, self.root.size)
        self.id = self.word(self.root.id)
        self.unstarted = self.word(self.root.home) == 0
        self.running = address == machine.current
        # It runs what it joins.
        self.calls = address in machine.callers

    def word(self, offset):
        return struct.unpack_from("<Q", self.header, offset)[0]

    @property
    def name(self):
        boxed = self.word(self.root.name)
        return text(*struct.unpack("<QQ", read(boxed, 16))) if boxed else None

    @property
    def parent(self):
        distance = struct.unpack_from("<I", self.header, self.root.lineage)[0] >> 1
        return self.id - distance if distance else None

    @property
    def state(self):
        if self.running:
            return "running"
        if self.calls:
            return "join"
        if self.unstarted:
            return "unstarted"
        if self.word(self.root.park) & 3 != 1:
            return "ready"
        return self.reason

    @property
    def reason(self):
        root = self.root
        request = self.word(root.request)
        if not request:
            return "ready"
        kind, payload = struct.unpack("<QQ", read(request + root.reason, 16))
        if kind >= len(root.reasons):
            return "wait %d" % kind
        if kind == root.descriptor:
            return "%s of descriptor %d" % (root.reasons[root.read + (payload & 3)], payload >> 2)
        if kind == root.select:
            return "select of %d" % payload
        if kind >= root.send:
            return "%s at %#x" % (root.reasons[kind], payload)
        return root.reasons[kind]

    @property
    def place(self):
        return self.root.place(self.word(self.root.spawned_at))

    def __str__(self):
        name = ' "%s"' % self.name if self.name else ""
        by = " by coroutine %d" % self.parent if self.parent else ""
        where = "worker %d" % self.machine.number
        if (self.running or self.calls) and self.machine.thread:
            where += ", thread %d" % self.machine.thread
        return "coroutine %d%s [%s, %s] spawned at %s%s" % (
            self.id,
            name,
            self.state,
            where,
            self.place,
            by,
        )

    def stack(self):
        """Where its stack begins, ends, and has the way back to its machine."""
        back = self.word(self.root.suspender)
        if not back:
            return None
        size = self.root.sizes[self.header[self.root.class_]]
        start = back & -size
        return start, start + size, back

    def suspended(self):
        """Its registers, and the address at which a walk of its stack ends; `None` if it runs."""
        stack = self.stack()
        if self.running or self.calls or not stack:
            return None
        start, _, back = stack
        count = self.root.switch_size // 8
        place = self.word(self.root.started) + self.root.switch
        words = struct.unpack("<%dQ" % count, read(place, 8 * count))
        # The lower one is the stack pointer, the other where that began.
        inside = sorted(set(one for one in words if start < one < back))
        if len(inside) != 2:
            return None
        pointer, first = inside
        registers = Processor.of_inferior().suspended(pointer)
        return Suspended(registers, start, back, word(first) if is_x86() else 0)


class Suspended:
    def __init__(self, registers, start, back, outermost):
        self.registers, self.start, self.back, self.outermost = registers, start, back, outermost


class Processor:
    """How corosensei 0.3 leaves a stack."""

    def __init__(self, pc, sp, suspended):
        self.pc, self.sp, self.suspended = pc, sp, suspended

    @staticmethod
    def of_inferior():
        name = gdb.selected_inferior().architecture().name()
        for start, processor in PROCESSORS.items():
            if name.startswith(start):
                return processor
        raise gdb.GdbError("pirn's stacks cannot be shown on %s" % name)


def x86_64(pointer):
    rip, rbx, rbp = struct.unpack("<3Q", read(pointer, 24))
    return {"rip": rip, "rbx": rbx, "rbp": rbp, "rsp": pointer + 24}


def aarch64(pointer):
    x19, x29, pc = struct.unpack("<3Q", read(pointer, 24))
    return {"pc": pc, "x19": x19, "x29": x29, "sp": pointer + 32}


PROCESSORS = {
    "i386:x86-64": Processor("rip", "rsp", x86_64),
    "aarch64": Processor("pc", "sp", aarch64),
}


def is_x86():
    return Processor.of_inferior() is PROCESSORS["i386:x86-64"]


class FrameId:
    def __init__(self, sp, pc):
        self.sp, self.pc = sp, pc


class Unwinder(gdb.unwinder.Unwinder):
    """Says that a thread's newest frame was called by a coroutine that is suspended."""

    def __init__(self):
        super().__init__("pirn")
        self.thread = self.target = self.newest = None

    def show(self, target):
        """Shows a coroutine on the selected thread, and returns its innermost frame."""
        thread = gdb.selected_thread()
        if thread is None:
            raise gdb.GdbError("there is no process and no core file")
        frame = gdb.newest_frame()
        # Not by its level: functions that are inlined there have frames of their own above it.
        self.newest = self.place(frame)
        self.thread, self.target = thread.ptid, target
        gdb.invalidate_cached_frames()
        frame = gdb.newest_frame()
        while frame is not None and not target.start <= self.place(frame)[1] <= target.back:
            frame = frame.older()
        return frame

    @staticmethod
    def place(frame):
        processor = Processor.of_inferior()
        return tuple(int(frame.read_register(name)) for name in (processor.pc, processor.sp))

    def hide(self):
        if self.target is not None:
            self.thread = self.target = self.newest = None
            gdb.invalidate_cached_frames()

    def __call__(self, pending):
        target = self.target
        if target is None or gdb.selected_thread().ptid != self.thread:
            return None
        processor = Processor.of_inferior()
        pc, sp = (pending.read_register(name) for name in (processor.pc, processor.sp))

        def typed(value, like):
            return gdb.Value(struct.pack("<Q", value), like.type)

        if (int(pc), int(sp)) == self.newest:
            # A frame below all of the coroutine's, as gdb wants the newest to be.
            below = typed(target.registers[processor.sp] - 16, sp)
            info = pending.create_unwind_info(FrameId(below, pc))
            for name, value in target.registers.items():
                like = pending.read_register(name)
                info.add_saved_register(name, typed(value, like))
            return info
        if target.outermost and int(pc) == target.outermost:
            # What its machine did when it last went there is long gone.
            info = pending.create_unwind_info(FrameId(sp, pc))
            info.add_saved_register(processor.pc, typed(0, pc))
            info.add_saved_register(processor.sp, typed(target.back, sp))
            return info
        return None


UNWINDER = Unwinder()
gdb.unwinder.register_unwinder(None, UNWINDER, replace=True)
# Registers are the thread's again when it runs.
gdb.events.cont.connect(lambda _: UNWINDER.hide())


# Files of the way into and out of the runtime, below its sources, and of others.
INNER = ("channel/host.rs", "coroutine/", "park/", "protocol/", "sched/")
OTHERS = (
    "/corosensei-",
    "/library/core/src/ops/function.rs",
    "/library/core/src/panic/",
    "/library/std/src/panic",
)


class Call:
    """A frame, as it is printed: gdb's own goes when its cache of frames does."""

    def __init__(self, frame, sources):
        self.pc = frame.pc()
        self.name = re.sub("::h[0-9a-f]{16}$", "", frame.name() or "??")
        sal = frame.find_sal()
        self.file, self.line = (sal.symtab.filename, sal.line) if sal.symtab else (None, 0)
        path = sal.symtab.fullname() if sal.symtab else ""
        before, found, below = ("/" + path).partition("/" + sources.lstrip("/"))
        self.is_inner = (
            (found and below.startswith(INNER))
            or any(part in path for part in OTHERS)
            or self.name == "__rust_try"
        )


def trimmed(calls):
    """Without the runtime's own around those that say something, if any does."""
    telling = [index for index, call in enumerate(calls) if not call.is_inner]
    return calls[telling[0] : telling[-1] + 1] if telling else calls


def print_calls(calls, full):
    for number, call in enumerate(calls if full else trimmed(calls)):
        at = " at %s:%d" % (call.file, call.line) if call.file else ""
        print("  #%-2d %#018x in %s%s" % (number, call.pc, call.name, at))
    if not calls:
        print("  (no frame of its own is known)")


def calls_between(frame, start, back, outermost, sources):
    """What lies between the two addresses, the innermost first."""
    processor = Processor.of_inferior()
    calls = []
    while frame is not None and frame.is_valid():
        sp = int(frame.read_register(processor.sp))
        if frame.pc() == outermost or "stack_init_trampoline" in (frame.name() or ""):
            # What was called by its joiner lies above that.
            if calls:
                break
        elif start <= sp <= back:
            calls.append(Call(frame, sources))
        elif calls:
            break
        try:
            frame = frame.older()
        except gdb.error as error:
            print("  (the walk ends here: %s)" % error)
            break
    return calls


def suspended_calls(one, target):
    try:
        frame = UNWINDER.show(target)
        return calls_between(
            frame, target.start, target.back, target.outermost, one.root.sources
        )
    finally:
        UNWINDER.hide()


def running_calls(one):
    stack = one.stack()
    threads = [t for t in gdb.selected_inferior().threads() if t.ptid[1] == one.machine.thread]
    if not threads or not stack:
        print("  (its thread is not known)")
        return []
    before = gdb.selected_thread()
    try:
        threads[0].switch()
        print("  (it runs on gdb's thread %d)" % threads[0].num)
        return calls_between(gdb.newest_frame(), stack[0], stack[2], 0, one.root.sources)
    finally:
        before.switch()


def print_stack(one, full):
    print(one)
    if one.running or one.calls:
        print_calls(running_calls(one), full)
    elif one.unstarted:
        print("  (it has no stack yet)")
    else:
        target = one.suspended()
        if target is None:
            print("  (it is on its way between its machine and its stack)")
        else:
            print_calls(suspended_calls(one, target), full)


def every(wanted=""):
    for root in roots():
        for machine in root.machines():
            for one in machine.coroutines():
                if not wanted or wanted in str(one):
                    yield one


def find(number):
    try:
        number = int(number)
    except ValueError:
        raise gdb.GdbError("the number of a coroutine is wanted, as `pirn coroutines` says it")
    for one in every():
        if one.id == number:
            return one
    raise gdb.GdbError("there is no coroutine %d, or none that a debugger can find" % number)


class Pirn(gdb.Command):
    """Looks at pirn's coroutines."""

    def __init__(self):
        super().__init__("pirn", gdb.COMMAND_STACK, gdb.COMPLETE_NONE, True)


class Coroutines(gdb.Command):
    """Lists coroutines, or those with TEXT in their line: pirn coroutines [TEXT]"""

    def invoke(self, argument, from_tty):
        gdb.execute("pirn back", to_string=True)
        for root in roots():
            runtimes = {}
            for machine in root.machines():
                runtimes.setdefault(machine.runtime, []).append(machine)
            for machines in runtimes.values():
                self.list(root, sorted(machines, key=lambda machine: machine.number), argument)

    @staticmethod
    def list(root, machines, wanted):
        everybody = [one for machine in machines for one in machine.coroutines()]
        live = sum(machine.balance for machine in machines)
        live = (live + machines[0].others) % 2**64
        print('runtime "%s": %d coroutines, %d workers' % (machines[0].name, live, len(machines)))
        for one in sorted(everybody, key=lambda one: one.id):
            line = str(one)
            if wanted in line:
                print("  " + line)
        if live > len(everybody):
            unseen = "unstarted or migrating" if root.migrating else "unstarted"
            print("  and %d more, %s" % (live - len(everybody), unseen))


class Backtrace(gdb.Command):
    """Says where a coroutine is: pirn bt [full] ID, or pirn bt [full] all [TEXT]"""

    def invoke(self, argument, from_tty):
        gdb.execute("pirn back", to_string=True)
        first, _, wanted = argument.strip().partition(" ")
        full = first == "full"
        if full:
            first, _, wanted = wanted.strip().partition(" ")
        if first != "all":
            return print_stack(find(first), full)
        for one in sorted(every(wanted.strip()), key=lambda one: one.id):
            print_stack(one, full)


class Switch(gdb.Command):
    """Makes gdb's own commands show a coroutine that does not run: pirn switch ID"""

    def invoke(self, argument, from_tty):
        gdb.execute("pirn back", to_string=True)
        one = find(argument)
        if one.running or one.calls:
            raise gdb.GdbError("it runs: select its thread, %d" % one.machine.thread)
        target = one.suspended()
        if target is None:
            raise gdb.GdbError("it has no stack that could be shown")
        frame = UNWINDER.show(target)
        if frame is None:
            UNWINDER.hide()
            raise gdb.GdbError("gdb cannot walk to its stack")
        frame.select()
        print("%s\nFrame 0 is the thread's own. `pirn back` ends this." % one)


class Back(gdb.Command):
    """Shows the thread again, after pirn switch"""

    def invoke(self, argument, from_tty):
        UNWINDER.hide()


Pirn()
Coroutines("pirn coroutines", gdb.COMMAND_STACK)
Backtrace("pirn bt", gdb.COMMAND_STACK)
Switch("pirn switch", gdb.COMMAND_STACK)
Back("pirn back", gdb.COMMAND_STACK)
