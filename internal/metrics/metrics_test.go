package metrics

import (
	"context"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"testing"

	"github.com/sirupsen/logrus"
)

func quiet() *logrus.Logger {
	log := logrus.New()
	log.SetOutput(io.Discard)
	return log
}

// TestOnlyMetricsAreServed, and nothing after it was stopped.
func TestOnlyMetricsAreServed(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "metrics.sock")
	a, err := ParseAddress("unix:" + socket)
	if err != nil {
		t.Fatal(err)
	}
	stop := New(Build{}, quiet()).Start(a)
	transport := &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) { return net.Dial("unix", socket) }}
	client := &http.Client{Transport: transport}
	t.Cleanup(func() { transport.CloseIdleConnections(); stop() })
	for _, path := range []string{"/", "/debug/pprof/", "/metrics/x"} {
		answer, err := client.Get("http://metrics" + path)
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		if answer.StatusCode != http.StatusNotFound {
			t.Errorf("%s: %s", path, answer.Status)
		}
	}
	stop()
	if _, err := net.Dial("unix", socket); err == nil {
		t.Error("served after it was stopped")
	}
}
