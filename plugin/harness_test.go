package plugin

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/overlayzfs/overlayzfs/internal/mount"
	"github.com/overlayzfs/overlayzfs/overlayzfs"
)

// TestMain fails the run when tests leave goroutines or files behind.
func TestMain(m *testing.M) {
	before := held()
	code := m.Run()
	if fuzzing() {
		os.Exit(code) // the fuzzer's own workers are still there
	}
	mount.CloseIdleThreads()
	if after := waitHoldings(before); code == 0 && after != before {
		fmt.Fprintf(os.Stderr, "left behind: %+v, began with %+v\n", after, before)
		stacks := make([]byte, 1<<20)
		os.Stderr.Write(stacks[:runtime.Stack(stacks, true)])
		code = 1
	}
	os.Exit(code)
}

func fuzzing() bool {
	return flag.Lookup("test.fuzz").Value.String() != "" || flag.Lookup("test.fuzzworker").Value.String() == "true"
}

type holdings struct{ goroutines, files int }

func held() holdings {
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		panic(err)
	}
	files := 0
	for _, fd := range fds { // the runtime's own poller comes with the first socket
		if name, err := os.Readlink("/proc/self/fd/" + fd.Name()); err == nil && strings.HasPrefix(name, "socket:") {
			files++
		}
	}
	return holdings{runtime.NumGoroutine(), files}
}

// waitHoldings waits until closing connections are closed, and returns the holdings.
func waitHoldings(want holdings) holdings {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	deadline := time.Now().Add(30 * time.Second)
	for range tick.C {
		if now := held(); now == want || time.Now().After(deadline) {
			return now
		}
	}
	panic("unreachable: a ticker does not end")
}

// fake is a Driver for protocol tests: it records calls and answers with what
// the test put in. It knows nothing of layers.
type fake struct {
	mu    sync.Mutex
	calls []string

	err      error
	hook     func(ctx context.Context, call string) // runs in every call
	diff     func(ctx context.Context) (io.ReadCloser, error)
	apply    func(ctx context.Context, r io.Reader) (int64, error)
	closed   chan struct{}
	metadata map[string]string
	pair     func(known []string, keep func([]string) error) error
}

func newFake() *fake { return &fake{closed: make(chan struct{})} }

func (f *fake) record(ctx context.Context, format string, args ...any) error {
	call := fmt.Sprintf(format, args...)
	f.mu.Lock()
	f.calls = append(f.calls, call)
	f.mu.Unlock()
	if f.hook != nil {
		f.hook(ctx, call)
	}
	return f.err
}

func (f *fake) joinCalls() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return strings.Join(f.calls, "\n")
}

func (f *fake) BindEngine(known []string, keep func([]string) error) error {
	if f.pair == nil {
		return nil
	}
	return f.pair(known, keep)
}

func (f *fake) Create(ctx context.Context, id, parent string, o CreateOptions) error {
	return f.record(ctx, "create %q %q %+v", id, parent, o)
}

func (f *fake) Get(ctx context.Context, id, label string) (string, error) {
	return "/home/" + id, f.record(ctx, "get %q %q", id, label)
}

func (f *fake) Put(ctx context.Context, id string) error { return f.record(ctx, "put %q", id) }

func (f *fake) Remove(ctx context.Context, id string) error { return f.record(ctx, "remove %q", id) }

func (f *fake) Exists(ctx context.Context, id string) (bool, error) {
	return id != "missing", f.record(ctx, "exists %q", id)
}

func (f *fake) Metadata(ctx context.Context, id string) (map[string]string, error) {
	return f.metadata, f.record(ctx, "metadata %q", id)
}

func (f *fake) Status(ctx context.Context) ([][2]string, error) {
	return [][2]string{{"Pool", "tank"}, {"Health", "ONLINE"}}, f.record(ctx, "status")
}

func (f *fake) Cleanup(ctx context.Context) error { return f.record(ctx, "cleanup") }

func (f *fake) Changes(ctx context.Context, id, parent string) ([]Change, error) {
	return []Change{{Path: "/m", Kind: overlayzfs.Modified}, {Path: "/a<b", Kind: overlayzfs.Added}, {Path: "/d", Kind: overlayzfs.Deleted}}, f.record(ctx, "changes %q %q", id, parent)
}

func (f *fake) Diff(ctx context.Context, id, parent string) (io.ReadCloser, error) {
	if err := f.record(ctx, "diff %q %q", id, parent); err != nil {
		return nil, err
	}
	if f.diff != nil {
		return f.diff(ctx)
	}
	return io.NopCloser(strings.NewReader("tar of " + id)), nil
}

func (f *fake) SetLimits(ctx context.Context, id string, options map[string]string) error {
	return f.record(ctx, "limit %q %v", id, options)
}

func (f *fake) DiffSize(ctx context.Context, id, parent string) (int64, error) {
	return 42, f.record(ctx, "diff size %q %q", id, parent)
}

func (f *fake) ApplyDiff(ctx context.Context, id, parent string, diff io.Reader) (int64, error) {
	if err := f.record(ctx, "apply %q %q", id, parent); err != nil {
		return 0, err
	}
	if f.apply != nil {
		return f.apply(ctx, diff)
	}
	return io.Copy(io.Discard, diff)
}

func (f *fake) Restart(ctx context.Context) error { return f.record(ctx, "restart") }

func (f *fake) Close() error {
	close(f.closed)
	return nil
}

// always opens d, whatever the parameters.
func always(d Driver) Opener {
	return func(context.Context, InitParams) (Driver, error) { return d, nil }
}

// rig is a server at work on a socket, and a client of it.
type rig struct {
	*client
	server *Server
	socket string
	log    *logs
	stop   func() error // idempotent
}

// logs collects log lines.
type logs struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// serve starts a server whose state file is state, without Init.
func serve(t *testing.T, open Opener, state string, adjust ...func(*Server)) *rig {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "s")
	l, err := Listen(socket)
	if err != nil {
		t.Fatal(err)
	}
	lines := &logs{}
	logger := &logrus.Logger{Out: lines, Formatter: &logrus.TextFormatter{}, Hooks: logrus.LevelHooks{}, Level: logrus.DebugLevel}
	server := NewServer(open, state, logger)
	for _, f := range adjust {
		f(server)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(ctx, l) }()
	stop := sync.OnceValue(func() error { cancel(); return <-ended })
	r := &rig{newClient(socket), server, socket, lines, stop}
	t.Cleanup(func() {
		if err := errors.Join(r.Close(), stop()); err != nil {
			t.Errorf("stopping: %v", err)
		}
	})
	return r
}

// started is serve with d initialised.
func started(t *testing.T, d Driver) *rig {
	t.Helper()
	r := serve(t, always(d), "")
	if err := r.Init(t.Context(), InitParams{Home: "/home"}); err != nil {
		t.Fatal(err)
	}
	return r
}

// post sends a body as it is and returns status and answer.
func (r *rig) post(t *testing.T, call string, body io.Reader) (int, string) {
	t.Helper()
	transport := &http.Transport{
		DialContext: func(context.Context, string, string) (net.Conn, error) { return net.Dial("unix", r.socket) },
	}
	defer transport.CloseIdleConnections()
	answer, err := (&http.Client{Transport: transport}).Post("http://plugin/"+call, "", body)
	if err != nil {
		t.Fatalf("%s: %v", call, err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatalf("%s: %v", call, err)
	}
	return answer.StatusCode, string(text)
}

// wantText fails the test unless err is a refusal whose text has all parts.
func wantText(t *testing.T, err error, parts ...string) {
	t.Helper()
	var refusal *callError
	if !errors.As(err, &refusal) {
		t.Fatalf("got %v, want a refusal by the plugin", err)
	}
	for _, part := range parts {
		if !strings.Contains(refusal.Text, part) {
			t.Errorf("the error %q lacks %q", refusal.Text, part)
		}
	}
}

// await fails the test if nothing comes.
func await[T any](t *testing.T, c <-chan T, what string) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(10 * time.Second):
		t.Fatalf("waited in vain for %s", what)
		panic("unreachable")
	}
}
