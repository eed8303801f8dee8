package main

import (
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	healthapi "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/overlayzfs/overlayzfs/internal/metrics"
)

// TestUnderSystemd runs the program as systemd does, with a socket passed to it, on a
// root that is no store. The program reports that it is ready and why it cannot serve,
// and ends at SIGTERM.
func TestUnderSystemd(t *testing.T) {
	dir := t.TempDir()
	program := filepath.Join(dir, "overlayzfs-snapshotter")
	if out, err := exec.Command("go", "build", "-o", program, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	notices, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(dir, "notify"), Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer notices.Close()
	path := filepath.Join(dir, "s")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	passed, err := l.File()
	if err != nil {
		t.Fatal(err)
	}
	defer passed.Close()

	// The daemon takes the socket only if LISTEN_PID is its process.
	cmd := exec.Command("sh", "-c", `LISTEN_FDS=1 LISTEN_PID=$$ exec "$0" "$@"`, program, "--config=/dev/null", "--socket=/nonexistent/s", "--root=/proc")
	cmd.Env = append(os.Environ(), "NOTIFY_SOCKET="+filepath.Join(dir, "notify"), metrics.EnvAddress+"=unix:"+filepath.Join(dir, "metrics"))
	cmd.ExtraFiles = []*os.File{passed}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	got := receive(t, notices)
	if !strings.HasPrefix(got, "READY=1\nSTATUS=cannot open the store: ") || !strings.Contains(got, "set store.dataset=POOL/NAME") {
		t.Errorf("systemd got %q", got)
	}
	if strings.Contains(got, "Docker") || strings.Contains(got, "overlayzfs.dataset") {
		t.Errorf("the remedy is for another program: %q", got)
	}
	requireUnhealthy(t, path)
	requireNoStore(t, filepath.Join(dir, "metrics"))
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if got := receive(t, notices); got != "STOPPING=1" {
		t.Errorf("systemd got %q", got)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("the program ends with %v", err)
	}
	if _, err := os.Lstat(path); err != nil {
		t.Errorf("systemd's socket is gone: %v", err)
	}
}

// requireNoStore fails unless the metrics on a unix socket say that no store is open.
func requireNoStore(t *testing.T, socket string) {
	t.Helper()
	transport := &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) { return net.Dial("unix", socket) }}
	defer transport.CloseIdleConnections()
	answer, err := (&http.Client{Transport: transport}).Get("http://overlayzfs/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	page, err := io.ReadAll(answer.Body)
	if err != nil || !strings.Contains(string(page), "\noverlayzfs_store_up 0\n") {
		t.Errorf("the metrics of a store that is not open: %v\n%s", err, page)
	}
}

func receive(t *testing.T, conn *net.UnixConn) string {
	t.Helper()
	if err := conn.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 4096)
	n, err := conn.Read(buf)
	if err != nil {
		t.Fatal(err)
	}
	return string(buf[:n])
}

func requireUnhealthy(t *testing.T, path string) {
	t.Helper()
	conn, err := grpc.NewClient("unix:"+path, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	got, err := healthapi.NewHealthClient(conn).Check(t.Context(), &healthapi.HealthCheckRequest{})
	if err != nil || got.Status != healthapi.HealthCheckResponse_NOT_SERVING {
		t.Errorf("health is %v, %v", got, err)
	}
}
