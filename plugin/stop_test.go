package plugin

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestStopLetsCallsFinish(t *testing.T) {
	d := newFake()
	began, release := make(chan struct{}), make(chan struct{})
	d.hook = func(context.Context, string) { close(began); <-release }
	r := started(t, d)
	result := make(chan error, 1)
	go func() { result <- r.Put(t.Context(), "a") }()
	await(t, began, "the call")
	stopped := make(chan error, 1)
	go func() { stopped <- r.stop() }()
	awaitRefusal(t, r.socket)
	if isClosed(d) {
		t.Error("the driver was closed under a call")
	}
	close(release)
	if err := await(t, result, "the call's end"); err != nil {
		t.Error(err)
	}
	if err := await(t, stopped, "the server"); err != nil {
		t.Error(err)
	}
	if !isClosed(d) {
		t.Error("the driver was not closed")
	}
}

// awaitRefusal waits until nobody listens at socket.
func awaitRefusal(t *testing.T, socket string) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for time.Now().Before(deadline) {
		conn, err := net.Dial("unix", socket)
		if err != nil {
			return
		}
		conn.Close()
	}
	t.Fatal("the server still listens")
}

func TestStopCutsWhatDoesNotFinish(t *testing.T) {
	d := newFake()
	d.hook = func(ctx context.Context, _ string) { <-ctx.Done() }
	r := serve(t, always(d), "", func(s *Server) { s.StopTimeout = time.Millisecond })
	mustInit(t, r, InitParams{Home: "/h"})
	result := make(chan error, 1)
	d.err = context.Canceled
	began := make(chan struct{})
	hook := d.hook
	d.hook = func(ctx context.Context, call string) { close(began); hook(ctx, call) }
	go func() { result <- r.Put(t.Context(), "a") }()
	await(t, began, "the call")
	if err := r.stop(); err != nil {
		t.Error(err)
	}
	if err := await(t, result, "the call's end"); err == nil {
		t.Error("a call that was cut succeeded")
	}
}

func TestStopCutsADiff(t *testing.T) {
	d := newFake()
	d.diff = func(ctx context.Context) (io.ReadCloser, error) { return io.NopCloser(endless{ctx}), nil }
	r := serve(t, always(d), "", func(s *Server) { s.StopTimeout = time.Millisecond })
	mustInit(t, r, InitParams{Home: "/h"})
	body, err := r.Diff(t.Context(), "a", "")
	if err != nil {
		t.Fatal(err)
	}
	defer body.Close()
	result := make(chan error, 1)
	go func() { _, err := io.Copy(io.Discard, body); result <- err }()
	if err := r.stop(); err != nil {
		t.Error(err)
	}
	if err := await(t, result, "the stream's end"); err == nil {
		t.Error("the stream ended as if it were whole")
	}
}

// endless is a Diff that ends only with its context.
type endless struct{ ctx context.Context }

func (e endless) Read(p []byte) (int, error) { return len(p), e.ctx.Err() }

func TestStopDuringRestore(t *testing.T) {
	state := filepath.Join(t.TempDir(), "state")
	if err := stateFile(state).save(InitParams{Home: "/h"}); err != nil {
		t.Fatal(err)
	}
	r := serve(t, func(ctx context.Context, _ InitParams) (Driver, error) { <-ctx.Done(); return nil, ctx.Err() }, state)
	began := time.Now()
	if err := r.stop(); err != nil {
		t.Error(err)
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("stopping took %v", took)
	}
}

// TestCallsWhileStopping: a connection may outlive the listener.
func TestCallsWhileStopping(t *testing.T) {
	r := started(t, newFake())
	r.server.inFlight.mu.Lock()
	r.server.inFlight.stopping = true
	r.server.inFlight.mu.Unlock()
	for _, err := range everyCall(t.Context(), r.client) {
		wantText(t, err, "the plugin is stopping")
	}
	r.server.inFlight.mu.Lock()
	r.server.inFlight.stopping = false
	r.server.inFlight.mu.Unlock()
}

func TestListen(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "plugins", "s")
	l, err := net.Listen("unix", filepath.Join(dir, "stale"))
	if err != nil {
		t.Fatal(err)
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	l.Close()
	if err := errors.Join(os.Mkdir(filepath.Dir(path), 0o755), os.Rename(filepath.Join(dir, "stale"), path)); err != nil {
		t.Fatal(err)
	}
	l, err = Listen(path)
	if err != nil {
		t.Fatalf("over a stale socket: %v", err)
	}
	defer l.Close()
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the socket is %v, %v", info.Mode(), err)
	}
	if _, err := Listen(path); err == nil || !strings.Contains(err.Error(), "serves it already") {
		t.Errorf("over a live socket: %v", err)
	}
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Listen(file); err == nil || !strings.Contains(err.Error(), "not a socket") {
		t.Errorf("over a file: %v", err)
	}
}
