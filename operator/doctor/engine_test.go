package doctor

import (
	"net"
	"net/http"
	"path/filepath"
	"testing"
)

// TestAskEngine asks a server that answers as dockerd does. integration/e2e asks a
// real one.
func TestAskEngine(t *testing.T) {
	path := filepath.Join(t.TempDir(), "docker.sock")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	answers := map[string]string{"/version": `{"Version":"26.1.5","ApiVersion":"1.45"}`, "/info": `{"Driver":"overlayzfs"}`}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answer, ok := answers[r.URL.Path]
		if !ok {
			w.WriteHeader(http.StatusNotFound)
		}
		_, _ = w.Write([]byte(answer))
	})}
	go server.Serve(l)
	defer server.Close()
	e, err := AskEngine(t.Context(), "unix://"+path)
	if err != nil || e.Version != "26.1.5" || e.Driver != "overlayzfs" {
		t.Errorf("%+v, %v", e, err)
	}
	delete(answers, "/info")
	if _, err := AskEngine(t.Context(), "unix://"+path); err == nil {
		t.Error("half an answer")
	}
	for _, host := range []string{"unix://" + path + "x", "tcp://localhost:1"} {
		if _, err := AskEngine(t.Context(), host); err == nil {
			t.Errorf("%s answers", host)
		}
	}
}
