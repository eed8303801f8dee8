package vm

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
)

// control is what the guest said on the control port.
type control struct {
	exited  bool
	code    int
	failure string
}

// readControl reads lines until the guest has told how the job ended.
func readControl(r io.Reader, ready chan<- struct{}) control {
	lines := bufio.NewScanner(r)
	started := false
	for lines.Scan() {
		word, rest, _ := strings.Cut(lines.Text(), " ")
		switch word {
		case "ready":
			if !started {
				started = true
				close(ready)
			}
		case "failed":
			return control{failure: rest}
		case "exit":
			code, err := strconv.Atoi(rest)
			if err != nil {
				return control{failure: "exit code " + strconv.Quote(rest)}
			}
			return control{exited: true, code: code}
		}
	}
	return control{}
}

// EndedError is a machine that ended before its job did: it crashed, it was
// killed, or it never got to the job.
type EndedError struct {
	// Started tells whether the job had begun.
	Started bool
	// Console is the end of the kernel's messages and of QEMU's own.
	Console string
}

func (e *EndedError) Error() string {
	what := "the machine ended before its job began"
	if e.Started {
		what = "the machine ended while its job ran"
	}
	if e.Console == "" {
		return what
	}
	return fmt.Sprintf("%s; its last messages:\n%s", what, indent(e.Console))
}

// explain adds what a person needs to see why a machine ended.
func (m *Machine) explain(err error) error {
	if !errors.Is(err, errEnded) {
		return err
	}
	ended := &EndedError{Console: tailOfFile(m.console, 30) + tailOfFile(m.qemuLog(), 10)}
	select {
	case <-m.ready:
		ended.Started = true
	default:
	}
	return ended
}

func tailOfFile(path string, lines int) string {
	data, err := os.ReadFile(path)
	if err != nil || len(data) == 0 {
		return ""
	}
	return strings.ReplaceAll(lastLines(data, lines), "\r", "") + "\n"
}
