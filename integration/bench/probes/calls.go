package probes

import (
	"cmp"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Call is a call of a probed function that no other probed function made.
type Call struct {
	Function string
	Began    time.Duration // on the trace's clock
	Took     time.Duration
}

// BusyTime returns for how long at least one call ran. Parallel calls slow each other
// down, so that their sum says little.
func BusyTime(calls []Call) (busy time.Duration) {
	var end time.Duration
	for _, c := range slices.SortedFunc(slices.Values(calls), func(a, b Call) int { return cmp.Compare(a.Began, b.Began) }) {
		from, to := max(c.Began, end), c.Began+c.Took
		if to > from {
			busy += to - from
			end = to
		}
	}
	return busy
}

// event is a line of the trace: a function was entered or left.
type event struct {
	at        time.Duration
	function  int
	out       bool
	goroutine string
}

var eventLine = regexp.MustCompile(`\s(\d+)\.(\d{6}): f(\d+)_(in|out)\d*: .*\bg=(\S+)`)

func parseLine(line string) (event, bool) {
	m := eventLine.FindStringSubmatch(line)
	if m == nil {
		return event{}, false
	}
	at, err := time.ParseDuration(m[1] + "." + m[2] + "s")
	if err != nil {
		return event{}, false
	}
	function, err := strconv.Atoi(m[3])
	return event{at, function, m[4] == "out", m[5]}, err == nil
}

// parseCalls reads a trace, whose lines are in the order of time. The goroutine tells
// calls apart, for it may change threads. A function is entered again after its stack
// had to grow: that is one call.
func parseCalls(trace string, names []string) []Call {
	var calls []Call
	under := make(map[string][]event) // of each goroutine, the outermost first
	for line := range strings.Lines(trace) {
		s, ok := parseLine(line)
		if !ok || s.function >= len(names) {
			continue
		}
		stack := under[s.goroutine]
		switch {
		case s.out:
			stack = popFunction(stack, s, func(began event) {
				calls = append(calls, Call{names[s.function], began.at, s.at - began.at})
			})
		case len(stack) == 0 || stack[len(stack)-1].function != s.function:
			stack = append(stack, s)
		}
		under[s.goroutine] = stack
	}
	return calls
}

// popFunction removes the function that was left from the stack, with functions above
// it whose return was not seen. It calls done when the function was the outermost.
func popFunction(stack []event, s event, done func(began event)) []event {
	for i := len(stack) - 1; i >= 0; i-- {
		if stack[i].function != s.function {
			continue
		}
		if i == 0 {
			done(stack[0])
		}
		return stack[:i]
	}
	return stack
}
