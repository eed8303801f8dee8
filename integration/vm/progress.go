package vm

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// progress tells a person how far a build is: one moving line on a terminal,
// plain lines elsewhere.
type progress struct {
	out      io.Writer
	terminal bool
}

func newProgress(out io.Writer) *progress {
	p := &progress{out: out}
	if file, ok := out.(*os.File); ok {
		_, err := unix.IoctlGetTermios(int(file.Fd()), unix.TCGETS)
		p.terminal = err == nil
	}
	return p
}

func (p *progress) note(format string, args ...any) {
	fmt.Fprintf(p.out, format+"\n", args...)
}

// task is a running step. What is written to it goes to the step's log, and
// its newest line is shown.
type task struct {
	progress *progress
	title    string
	begun    time.Time
	log      *os.File
	stop     chan struct{}
	stopped  sync.WaitGroup

	mu   sync.Mutex
	tail []byte // the log's end
}

const (
	spinEvery      = 150 * time.Millisecond
	heartbeatEvery = 30 * time.Second
	tailSize       = 4096
)

func (p *progress) start(title, logPath string) (*task, error) {
	if err := os.MkdirAll(filepath.Dir(logPath), 0o755); err != nil {
		return nil, err
	}
	log, err := os.Create(logPath)
	if err != nil {
		return nil, err
	}
	t := &task{progress: p, title: title, begun: time.Now(), log: log, stop: make(chan struct{})}
	if !p.terminal {
		p.note("%s", title)
	}
	t.stopped.Add(1)
	go t.show()
	return t, nil
}

func (t *task) Write(data []byte) (int, error) {
	t.mu.Lock()
	t.tail = append(t.tail, data...)
	if extra := len(t.tail) - tailSize; extra > 0 {
		t.tail = t.tail[extra:]
	}
	t.mu.Unlock()
	return t.log.Write(data)
}

func (t *task) show() {
	defer t.stopped.Done()
	every := heartbeatEvery
	if t.progress.terminal {
		every = spinEvery
	}
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for frame := 0; ; frame++ {
		select {
		case <-t.stop:
			return
		case <-ticker.C:
		}
		if t.progress.terminal {
			spinner := []rune("⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏")
			fmt.Fprintf(t.progress.out, "\r\033[K%c %s  %s  \033[2m%s\033[0m", spinner[frame%len(spinner)], t.title, t.elapsed(), t.lastLine())
		} else {
			t.progress.note("  … %s  %s", t.elapsed(), t.lastLine())
		}
	}
}

func (t *task) finish(err error) {
	close(t.stop)
	t.stopped.Wait()
	t.log.Close()
	if t.progress.terminal {
		fmt.Fprint(t.progress.out, "\r\033[K")
	}
	if err == nil {
		t.progress.note("%s: done in %s", t.title, t.elapsed())
		return
	}
	t.progress.note("%s: failed after %s; the end of %s:", t.title, t.elapsed(), t.log.Name())
	t.mu.Lock()
	defer t.mu.Unlock()
	t.progress.note("%s", indent(lastLines(t.tail, 20)))
}

func (t *task) elapsed() time.Duration { return time.Since(t.begun).Round(time.Second) }

// lastLine is short enough for one row of a terminal.
func (t *task) lastLine() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	line := lastLines(t.tail, 1)
	if runes := []rune(line); len(runes) > 40 {
		line = string(runes[:39]) + "…"
	}
	return strings.Map(printable, line)
}

func printable(r rune) rune {
	if r < ' ' {
		return ' '
	}
	return r
}

func lastLines(text []byte, n int) string {
	lines := bytes.Split(bytes.TrimRight(text, "\r\n"), []byte("\n"))
	if len(lines) > n {
		lines = lines[len(lines)-n:]
	}
	return string(bytes.Join(lines, []byte("\n")))
}

func indent(text string) string {
	return "  | " + strings.ReplaceAll(text, "\n", "\n  | ")
}
