// The rows of the benches in Go: the same work, counts and figures as in src/contestants.
//
//	main WORKERS WORK NUMBER...   does the work once to warm up, then prints its figures
//	main serve|http WORKERS       echo, or plain text: prints its address, then serves until it is killed
package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

func nanosEach(count int, run func()) float64 {
	start := time.Now()
	run()
	return float64(time.Since(start).Nanoseconds()) / float64(count)
}

func yields(switches int) float64 {
	yielding := func() {
		for i := 0; i < switches/2; i++ {
			runtime.Gosched()
		}
	}
	return nanosEach(switches, func() {
		done := make(chan struct{})
		go func() {
			yielding()
			close(done)
		}()
		yielding()
		<-done
	})
}

func spawns(count int) float64 {
	done := make(chan struct{})
	body := func() { done <- struct{}{} }
	return nanosEach(count, func() {
		for i := 0; i < count; i++ {
			go body()
			<-done
		}
	})
}

func roundTrips(rounds, capacity int) float64 {
	there, back := make(chan uint64, capacity), make(chan uint64, capacity)
	go func() {
		for n := range there {
			back <- n
		}
	}()
	nanos := nanosEach(rounds, func() {
		for n := 0; n < rounds; n++ {
			there <- uint64(n)
			if <-back != uint64(n) {
				panic("another message")
			}
		}
	})
	close(there)
	return nanos
}

// Only bounded: Go has no unbounded channel.
func crowd(producers, consumers, capacity, messages int) float64 {
	channel := make(chan uint64, capacity)
	var sending, receiving sync.WaitGroup
	var received atomic.Int64
	nanos := nanosEach(messages, func() {
		for i := 0; i < producers; i++ {
			sending.Go(func() {
				for n := 0; n < messages/producers; n++ {
					channel <- uint64(n)
				}
			})
		}
		for i := 0; i < consumers; i++ {
			receiving.Go(func() {
				count := 0
				for range channel {
					count++
				}
				received.Add(int64(count))
			})
		}
		sending.Wait()
		close(channel)
		receiving.Wait()
	})
	if received.Load() != int64(messages) {
		panic("messages are missing")
	}
	return 1e3 / nanos
}

func mutex(crowd, each int) float64 {
	var lock sync.Mutex
	count := 0
	nanos := nanosEach(crowd*each, func() {
		var all sync.WaitGroup
		for i := 0; i < crowd; i++ {
			all.Go(func() {
				for n := 0; n < each; n++ {
					lock.Lock()
					count++
					lock.Unlock()
				}
			})
		}
		all.Wait()
	})
	if count != crowd*each {
		panic("operations are missing")
	}
	return nanos
}

// What this process has of the machine's memory, page tables included.
func memory() int {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		panic(err)
	}
	total := 0
	for line := range strings.Lines(string(status)) {
		fields := strings.Fields(line)
		if len(fields) > 1 && (fields[0] == "VmRSS:" || fields[0] == "VmPTE:") {
			kibibytes, err := strconv.Atoi(fields[1])
			if err != nil {
				panic(err)
			}
			total += kibibytes * 1024
		}
	}
	return total
}

func parked(count int) (micros, cpuMicros, bytes float64) {
	before, cpuBefore := memory(), cpu()
	nanos := nanosEach(count, func() {
		var all sync.WaitGroup
		var arrived atomic.Int64
		release := make(chan struct{})
		for i := 0; i < count; i++ {
			all.Go(func() {
				arrived.Add(1)
				<-release
			})
		}
		for arrived.Load() < int64(count) {
			runtime.Gosched()
		}
		bytes = float64(memory()-before) / float64(count)
		close(release)
		all.Wait()
	})
	return nanos / 1e3, float64(cpu()-cpuBefore) / float64(count) / 1e3, bytes
}

// Nanoseconds of processor time that all threads of this process have used.
func cpu() int64 {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		panic(err)
	}
	return usage.Utime.Nano() + usage.Stime.Nano()
}

func serve() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	fmt.Println(listener.Addr())
	for {
		stream, err := listener.Accept()
		if err != nil {
			panic(err)
		}
		go func() {
			defer stream.Close()
			buffer := make([]byte, 512)
			for {
				length, err := stream.Read(buffer)
				if err != nil {
					return
				}
				if _, err := stream.Write(buffer[:length]); err != nil {
					return
				}
			}
		}()
	}
}

// Plain text by HTTP.
func plain() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	fmt.Println(listener.Addr())
	panic(http.Serve(listener, http.HandlerFunc(func(to http.ResponseWriter, _ *http.Request) {
		to.Header().Set("Content-Type", "text/plain")
		io.WriteString(to, "Hello, World!")
	})))
}

func millis(run func()) float64 {
	return nanosEach(1, run) / 1e6
}

func skynetOf(first, leaves, fan int) int {
	if leaves == 1 {
		return first
	}
	sums := make(chan int, fan)
	for n := 0; n < fan; n++ {
		go func() { sums <- skynetOf(first+n*(leaves/fan), leaves/fan, fan) }()
	}
	sum := 0
	for n := 0; n < fan; n++ {
		sum += <-sums
	}
	return sum
}

func skynet(leaves, fan int) float64 {
	return millis(func() {
		if skynetOf(0, leaves, fan) != leaves*(leaves-1)/2 {
			panic("another sum")
		}
	})
}

func selected(messages int) float64 {
	var channels [4]chan uint64
	for i := range channels {
		channels[i] = make(chan uint64)
	}
	return nanosEach(messages, func() {
		for _, channel := range channels {
			go func() {
				for n := 0; n < messages/4; n++ {
					channel <- uint64(n)
				}
			}()
		}
		for n := 0; n < messages/4*4; n++ {
			select {
			case <-channels[0]:
			case <-channels[1]:
			case <-channels[2]:
			case <-channels[3]:
			}
		}
	})
}

// Ends its goroutines by a channel that is closed, which others notice by themselves.
func sieve(primes int) float64 {
	return millis(func() {
		done := make(chan struct{})
		defer close(done)
		numbers := make(chan uint64)
		go func(to chan uint64) {
			for n := uint64(2); ; n++ {
				select {
				case to <- n:
				case <-done:
					return
				}
			}
		}(numbers)
		for i := 0; i < primes; i++ {
			prime, filtered := <-numbers, make(chan uint64)
			go func(from chan uint64) {
				for {
					select {
					case n := <-from:
						if n%prime == 0 {
							continue
						}
						select {
						case filtered <- n:
						case <-done:
							return
						}
					case <-done:
						return
					}
				}
			}(numbers)
			numbers = filtered
		}
	})
}

func fib(n int) int {
	if n < 2 {
		return n
	}
	return fib(n-1) + fib(n-2)
}

func forkJoin(n, aloneFrom int) int {
	if n <= aloneFrom {
		return fib(n)
	}
	left := make(chan int, 1)
	go func() { left <- forkJoin(n-1, aloneFrom) }()
	return forkJoin(n-2, aloneFrom) + <-left
}

func timers(crowd, each int) float64 {
	return nanosEach(crowd*each, func() {
		var all sync.WaitGroup
		for i := 0; i < crowd; i++ {
			all.Go(func() {
				for n := 0; n < each; n++ {
					within, cancel := context.WithTimeout(context.Background(), 600*time.Second)
					runtime.Gosched()
					if within.Err() != nil {
						panic("no time")
					}
					cancel()
				}
			})
		}
		all.Wait()
	})
}

// Seconds of processor time, and how many ms late the sleepers were: the median and p99.
func sleepers(count, longest int) (seconds, p50, p99 float64) {
	before := cpu()
	late := make([]time.Duration, count)
	var all sync.WaitGroup
	for n := 0; n < count; n++ {
		all.Go(func() {
			wanted := time.Duration(1+n*7919%longest) * time.Millisecond
			start := time.Now()
			time.Sleep(wanted)
			late[n] = time.Since(start) - wanted
		})
	}
	all.Wait()
	seconds = float64(cpu()-before) / 1e9
	slices.Sort(late)
	ms := func(percent int) float64 { return float64(late[(count-1)*percent/100]) / 1e6 }
	return seconds, ms(50), ms(99)
}

func main() {
	if len(os.Args) == 3 && (os.Args[1] == "serve" || os.Args[1] == "http") {
		workers, err := strconv.Atoi(os.Args[2])
		if err != nil {
			panic(err)
		}
		runtime.GOMAXPROCS(workers)
		if os.Args[1] == "serve" {
			serve()
		}
		plain()
	}
	if len(os.Args) < 3 {
		fmt.Fprintln(os.Stderr, "usage: main serve|http WORKERS, or main WORKERS WORK NUMBER...")
		os.Exit(2)
	}
	var numbers []int
	for _, argument := range append(os.Args[1:2:2], os.Args[3:]...) {
		number, err := strconv.Atoi(argument)
		if err != nil {
			panic(err)
		}
		numbers = append(numbers, number)
	}
	runtime.GOMAXPROCS(numbers[0])
	numbers = numbers[1:]
	var run func() float64
	switch os.Args[2] {
	case "yield":
		run = func() float64 { return yields(numbers[0]) }
	case "spawn":
		run = func() float64 { return spawns(numbers[0]) }
	case "round-trip":
		run = func() float64 { return roundTrips(numbers[0], numbers[1]) }
	case "crowd":
		run = func() float64 { return crowd(numbers[0], numbers[1], numbers[2], numbers[3]) }
	case "mutex":
		run = func() float64 { return mutex(numbers[0], numbers[1]) }
	case "skynet":
		run = func() float64 { return skynet(numbers[0], numbers[1]) }
	case "select":
		run = func() float64 { return selected(numbers[0]) }
	case "sieve":
		run = func() float64 { return sieve(numbers[0]) }
	case "fib":
		run = func() float64 { return millis(func() { forkJoin(numbers[0], numbers[1]) }) }
	case "timers":
		run = func() float64 { return timers(numbers[0], numbers[1]) }
	case "sleepers":
		fmt.Println(sleepers(numbers[0], numbers[1]))
		return
	case "parked":
		fmt.Println(parked(numbers[0]))
		return
	default:
		fmt.Fprintln(os.Stderr, "no such work:", os.Args[2])
		os.Exit(2)
	}
	operations := numbers[0]
	switch os.Args[2] {
	case "crowd":
		operations = numbers[3]
	case "fib":
		operations = 1
	case "mutex", "timers":
		operations = numbers[0] * numbers[1]
	}
	run()
	start := cpu()
	figure := run()
	fmt.Println(figure, float64(cpu()-start)/float64(operations))
}
