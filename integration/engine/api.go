package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"
)

// Get asks the engine's API and returns the answer, which the caller closes. It is for tests
// that ask much: a docker command takes a fifth of a second of processor time before it asks.
func (e *Engine) Get(ctx context.Context, path string) (io.ReadCloser, error) {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", e.path("docker.sock"))
	}
	client := &http.Client{Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true}}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://docker"+path, nil)
	if err != nil {
		return nil, err
	}
	answer, err := client.Do(request)
	if err != nil {
		return nil, err
	}
	if answer.StatusCode != http.StatusOK {
		text, err := io.ReadAll(answer.Body)
		err = errors.Join(err, answer.Body.Close())
		return nil, errors.Join(fmt.Errorf("the engine answers %s to GET %s: %s", answer.Status, path, text), err)
	}
	return answer.Body, nil
}

// Ask decodes the engine's answer to Get into the value that into points to.
func (e *Engine) Ask(t testing.TB, path string, into any) {
	t.Helper()
	answer, err := e.Get(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Close()
	if err := json.NewDecoder(answer).Decode(into); err != nil {
		t.Fatalf("GET %s: %v", path, err)
	}
}
