package probes

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Tracer has probes on a program. They are in all of its processes, and slow them down
// a little while enabled.
type Tracer struct {
	dir   string // mount point of the tracing file system
	group string // of the probes in the kernel's lists
	names []string
}

// New defines probes on the functions that a program has. The group, a word,
// distinguishes its probes from another Tracer's.
func New(path, group string, functions []string) (_ *Tracer, err error) {
	p, err := openProgram(path)
	if err != nil {
		return nil, err
	}
	defer p.Close()
	t := &Tracer{group: group}
	if t.dir, err = mountTracing(); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, t.Close())
		}
	}()
	if err := t.define(p, functions); err != nil {
		return nil, err
	}
	// All processors use one clock.
	return t, t.write("trace_clock", "mono")
}

// Start starts tracing. It clears the trace of every Tracer.
func (t *Tracer) Start() error {
	if err := os.WriteFile(filepath.Join(t.dir, "trace"), nil, 0o600); err != nil {
		return err
	}
	return t.enable("1")
}

// Stop returns the calls that began and returned since Start.
func (t *Tracer) Stop() ([]Call, error) {
	if err := t.enable("0"); err != nil {
		return nil, err
	}
	raw, err := os.ReadFile(filepath.Join(t.dir, "trace"))
	if err != nil {
		return nil, err
	}
	return parseCalls(string(raw), t.names), nil
}

func (t *Tracer) enable(value string) error { return t.write("events/"+t.group+"/enable", value) }

func mountTracing() (string, error) {
	dir, err := os.MkdirTemp("/run", "tracing-")
	if err != nil {
		return "", err
	}
	if err := mountTracefs(dir); err != nil {
		return "", errors.Join(fmt.Errorf("mount tracefs: %w", err), os.Remove(dir))
	}
	return dir, nil
}

func mountTracefs(dir string) error { return unix.Mount("tracefs", dir, "tracefs", 0, "") }

// define defines the events: "f3_in" and "f3_out0" for the fourth function.
func (t *Tracer) define(p *program, functions []string) error {
	var lines bytes.Buffer
	for _, name := range functions {
		f, err := p.findFunction(name)
		if err != nil {
			return err
		}
		if f == nil {
			continue
		}
		id := len(t.names)
		t.names = append(t.names, name)
		line := func(suffix string, offset uint64) {
			fmt.Fprintf(&lines, "p:%s/f%d_%s %s:%#x g=%s\n", t.group, id, suffix, p.path, offset, goroutineRegister(p.Machine))
		}
		line("in", f.entry)
		for i, offset := range f.returns {
			line("out"+strconv.Itoa(i), offset)
		}
	}
	if len(t.names) == 0 {
		return fmt.Errorf("%s has none of the functions", p.path)
	}
	for line := range strings.Lines(lines.String()) {
		if err := t.write("uprobe_events", line); err != nil {
			return fmt.Errorf("%s: %w", strings.TrimSpace(line), err)
		}
	}
	return nil
}

// write appends to a file of tracefs: emptying the list of probes would remove other
// users' probes.
func (t *Tracer) write(name, text string) error {
	f, err := os.OpenFile(filepath.Join(t.dir, name), os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Close())
}

// Close removes the probes.
func (t *Tracer) Close() error {
	var errs []error
	if len(t.names) > 0 {
		errs = append(errs, t.remove())
	}
	errs = append(errs, unix.Unmount(t.dir, unix.MNT_DETACH), os.Remove(t.dir))
	return errors.Join(errs...)
}

func (t *Tracer) remove() error {
	if err := t.enable("0"); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	raw, err := os.ReadFile(filepath.Join(t.dir, "uprobe_events"))
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(raw)) {
		event, _, _ := strings.Cut(line, " ")
		event = strings.TrimPrefix(event, "p:")
		if !strings.HasPrefix(event, t.group+"/") {
			continue
		}
		if err := t.write("uprobe_events", "-:"+event); err != nil {
			return err
		}
	}
	return nil
}
