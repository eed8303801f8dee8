package plugin

import (
	"context"
	"errors"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/overlayzfs/overlayzfs/internal/fault"
)

func TestRequestLimits(t *testing.T) {
	d := newFake()
	r := started(t, d)
	if err := RequestLimits(t.Context(), r.socket, "a", map[string]string{"size": "20G"}); err != nil {
		t.Fatal(err)
	}
	if got, want := d.joinCalls(), `limit "a" map[size:20G]`; got != want {
		t.Errorf("the driver was asked %s, want %s", got, want)
	}
	d.err = fault.New(fault.Busy, "it runs")
	var refusal *Refusal
	if err := RequestLimits(t.Context(), r.socket, "a", nil); !errors.As(err, &refusal) || !strings.Contains(refusal.Text, "it runs") || !strings.Contains(refusal.Text, "retry") {
		t.Errorf("a refusal: %v", err)
	}
}

// TestRequestLimitsOfNoPlugin asks nobody, and a server that is no plugin of ours. Neither is a
// refusal.
func TestRequestLimitsOfNoPlugin(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "s")
	for _, what := range []string{"nobody", "another server"} {
		if what != "nobody" {
			l, err := net.Listen("unix", socket)
			if err != nil {
				t.Fatal(err)
			}
			server := &http.Server{Handler: http.NotFoundHandler()}
			go func() { _ = server.Serve(l) }()
			defer server.Close()
		}
		err := RequestLimits(context.Background(), socket, "a", nil)
		var refusal *Refusal
		if err == nil || errors.As(err, &refusal) || !strings.Contains(err.Error(), socket) {
			t.Errorf("%s: %v", what, err)
		}
	}
}
