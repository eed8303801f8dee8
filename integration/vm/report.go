package vm

import (
	"bufio"
	"encoding/json"
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
	// system are kernel, OpenZFS, and the engines as PACKAGE=VERSION.
	system []string
}

// readControl reads lines until the guest has told how the job ended.
func readControl(r io.Reader, ready chan<- struct{}) control {
	lines := bufio.NewScanner(r)
	started := false
	var system []string
	for lines.Scan() {
		word, rest, _ := strings.Cut(lines.Text(), " ")
		switch word {
		case "ready":
			if !started {
				started, system = true, strings.Fields(rest)
				close(ready)
			}
		case "failed":
			return control{failure: rest, system: system}
		case "exit":
			code, err := strconv.Atoi(rest)
			if err != nil {
				return control{failure: "exit code " + strconv.Quote(rest), system: system}
			}
			return control{exited: true, code: code, system: system}
		}
	}
	return control{system: system}
}

// RecordVariable names a file to which each machine adds a line when it ends:
// a [Record] as JSON.
const RecordVariable = "OZLAB_RECORD"

// Record says what a machine was.
type Record struct {
	Machine Kind     `json:"machine"`
	Suite   string   `json:"suite"`
	Kernel  string   `json:"kernel"`
	OpenZFS string   `json:"openzfs"`
	Engines []string `json:"engines"` // PACKAGE=VERSION
}

// writeRecord adds the machine's line to the file that is asked for.
func (m *Machine) writeRecord() error {
	name, system := os.Getenv(RecordVariable), m.report.control.system
	if name == "" || len(system) < 2 {
		return nil
	}
	line, err := json.Marshal(Record{Machine: m.choice.Kind, Suite: m.suite, Kernel: system[0], OpenZFS: system[1], Engines: system[2:]})
	if err != nil {
		return err
	}
	file, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	_, err = file.Write(append(line, '\n'))
	return errors.Join(err, file.Close())
}

// EndedError is a machine that ended before its job did: it crashed, it was
// killed, or it never got to the job.
type EndedError struct {
	// Started tells whether the job had begun.
	Started bool
	// Console is the end of the kernel's messages and of the process's own.
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
	ended := &EndedError{Console: tailOfFile(m.console, 30) + tailOfFile(m.processLog(), 10)}
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
