//go:build vm

package deb

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

// service is the process that the unit describes.
type service struct {
	cmd *exec.Cmd
	log *bytes.Buffer
}

// startService runs the unit's command, for the guest has no systemd.
func startService(t *testing.T) *service {
	t.Helper()
	var command string
	for line := range strings.Lines(run(t, "cat", unit)) {
		if value, ok := strings.CutPrefix(line, "ExecStart="); ok {
			command = strings.TrimSpace(value)
		}
	}
	s := &service{exec.Command(command), &bytes.Buffer{}}
	s.cmd.Stdout, s.cmd.Stderr = s.log, s.log
	must(t, s.cmd.Start())
	t.Cleanup(func() {
		if s.cmd.ProcessState == nil { // the test failed before stop
			_ = s.cmd.Process.Kill()
			_ = s.cmd.Wait()
		}
	})
	return s
}

// checkStoreOpen returns an error until the store is open.
func (s *service) checkStoreOpen() error {
	page, err := fetchPage("/run/overlayzfs/metrics.sock")
	if err == nil && !strings.Contains(page, "\noverlayzfs_store_up 1\n") {
		err = fmt.Errorf("the store is not open:\n%s", page)
	}
	return err
}

func (s *service) stop(t *testing.T) {
	t.Helper()
	must(t, s.cmd.Process.Signal(syscall.SIGTERM))
	if err := s.cmd.Wait(); err != nil {
		t.Fatalf("%v\n%s", err, s.log)
	}
}

func scrapeMetrics(t *testing.T, socket string) string {
	t.Helper()
	page, err := fetchPage(socket)
	must(t, err)
	return page
}

func fetchPage(socket string) (string, error) {
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", socket)
	}}
	defer transport.CloseIdleConnections()
	answer, err := (&http.Client{Transport: transport}).Get("http://overlayzfs/metrics")
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	page, err := io.ReadAll(answer.Body)
	if err == nil && answer.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", answer.Status, page)
	}
	return string(page), err
}
