package engine

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// StartRegistry starts a registry on localhost, which engines use without TLS, and
// returns its address. The end of the test stops it.
func StartRegistry(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	address, err := freeAddress()
	if err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(dir, "config.json") // YAML includes JSON
	if err := writeRegistryConfig(config, address, filepath.Join(dir, "data")); err != nil {
		t.Fatal(err)
	}
	p := &Process{Args: []string{"docker-registry", "serve", config}, Log: filepath.Join(dir, "log")}
	t.Cleanup(func() {
		if err := p.end(syscall.SIGTERM); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Logf("the registry said:\n%s", p.tail())
		}
	})
	if err := p.start(func() error { return answers(address) }); err != nil {
		t.Fatalf("%v\n%s", err, p.tail())
	}
	return address
}

// freeAddress returns an address on which nothing listens.
func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("localhost:%d", l.Addr().(*net.TCPAddr).Port), l.Close()
}

func writeRegistryConfig(path, address, data string) error {
	raw, err := json.Marshal(map[string]any{
		"version": 0.1,
		"log":     map[string]any{"level": "error", "accesslog": map[string]any{"disabled": true}},
		"storage": map[string]any{"filesystem": map[string]any{"rootdirectory": data}},
		"http":    map[string]any{"addr": address},
	})
	if err != nil {
		return err
	}
	return os.WriteFile(path, raw, 0o600)
}

func answers(address string) error {
	answer, err := http.Get("http://" + address + "/v2/")
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("the registry answers %s", answer.Status)
	}
	return nil
}
