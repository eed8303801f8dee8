package engine

import (
	"bytes"
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
	return e.call(ctx, http.MethodGet, path, nil)
}

// call sends a request to the engine's API and returns the answer, which the caller closes. The
// body is a tar, if it is bytes, else it is encoded as JSON; nil is none.
func (e *Engine) call(ctx context.Context, method, path string, body any) (io.ReadCloser, error) {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", e.path("docker.sock"))
	}
	client := &http.Client{Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true}}
	content, kind := []byte(nil), "application/json"
	if archive, ok := body.([]byte); ok {
		content, kind = archive, "application/x-tar"
	} else if body != nil {
		var err error
		if content, err = json.Marshal(body); err != nil {
			return nil, err
		}
	}
	request, err := http.NewRequestWithContext(ctx, method, "http://docker"+path, bytes.NewReader(content))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Content-Type", kind)
	answer, err := client.Do(request)
	if err != nil {
		return nil, err
	}
	if answer.StatusCode >= http.StatusBadRequest {
		text, err := io.ReadAll(answer.Body)
		err = errors.Join(err, answer.Body.Close())
		return nil, errors.Join(fmt.Errorf("the engine answers %s to %s %s: %s", answer.Status, method, path, text), err)
	}
	return answer.Body, nil
}

// Ask decodes the engine's answer to Get into the value that into points to.
func (e *Engine) Ask(t testing.TB, path string, into any) {
	t.Helper()
	if err := e.decode(http.MethodGet, path, nil, into); err != nil {
		t.Fatal(err)
	}
}

// send sends a request to the engine's API and drops its answer.
func (e *Engine) send(t testing.TB, method, path string, body any) {
	t.Helper()
	answer, err := e.call(context.Background(), method, path, body)
	if err == nil {
		_, err = io.Copy(io.Discard, answer)
		err = errors.Join(err, answer.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
}

// decode decodes the engine's answer to a request into the value that into points to.
func (e *Engine) decode(method, path string, body, into any) error {
	answer, err := e.call(context.Background(), method, path, body)
	if err != nil {
		return err
	}
	defer answer.Close()
	if err := json.NewDecoder(answer).Decode(into); err != nil {
		return fmt.Errorf("%s %s: %w", method, path, err)
	}
	return nil
}

// StorageDriver returns the name of the engine's storage driver.
func (e *Engine) StorageDriver(t testing.TB) string {
	t.Helper()
	var info struct{ Driver string }
	e.Ask(t, "/info", &info)
	return info.Driver
}
