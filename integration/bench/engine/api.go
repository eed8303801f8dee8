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
	"net/url"
	"strings"
)

// api calls an engine's API directly, without the cost of a docker command for each
// call.
type api struct{ client http.Client }

// newAPI returns an API client of the engine at host.
func newAPI(host string) *api {
	socket := strings.TrimPrefix(host, "unix://")
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", socket)
	}
	return &api{http.Client{Transport: &http.Transport{DialContext: dial}}}
}

const (
	typeJSON = "application/json"
	typeTar  = "application/x-tar"
)

// send makes a call and returns the body of its answer.
func (a *api) send(ctx context.Context, method, path string, query url.Values, kind string, body io.Reader) ([]byte, error) {
	target := url.URL{Scheme: "http", Host: "engine", Path: path, RawQuery: query.Encode()}
	request, err := http.NewRequestWithContext(ctx, method, target.String(), body)
	if err != nil {
		return nil, err
	}
	if body != nil {
		request.Header.Set("Content-Type", kind)
	}
	answer, err := a.client.Do(request)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	raw, err := io.ReadAll(answer.Body)
	if err == nil && answer.StatusCode >= http.StatusBadRequest {
		err = fmt.Errorf("%s: %s", answer.Status, bytes.TrimSpace(raw))
	}
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", method, target.RequestURI(), err)
	}
	return raw, nil
}

// post sends a value, which may be nil, and decodes the answer.
func (a *api) post(ctx context.Context, path string, query url.Values, in, out any) error {
	raw, err := json.Marshal(in)
	if err != nil {
		return err
	}
	var body io.Reader
	if in != nil {
		body = bytes.NewReader(raw)
	}
	raw, err = a.send(ctx, http.MethodPost, path, query, typeJSON, body)
	if err != nil || out == nil {
		return err
	}
	if err := json.Unmarshal(raw, out); err != nil {
		return fmt.Errorf("the answer to POST %s: %w", path, err)
	}
	return nil
}

// stream sends a tar to a call that answers with progress messages.
func (a *api) stream(ctx context.Context, path string, query url.Values, archive []byte) error {
	raw, err := a.send(ctx, http.MethodPost, path, query, typeTar, bytes.NewReader(archive))
	if err != nil {
		return err
	}
	if err := findFailure(raw); err != nil {
		return fmt.Errorf("POST %s: %w", path, err)
	}
	return nil
}

// findFailure returns the error in progress messages. The engine has answered "200 OK"
// long before it.
func findFailure(messages []byte) error {
	for in := json.NewDecoder(bytes.NewReader(messages)); ; {
		var message struct{ Error string }
		switch err := in.Decode(&message); {
		case err == io.EOF:
			return nil
		case err != nil:
			return fmt.Errorf("decode progress messages: %w", err)
		case message.Error != "":
			return errors.New(message.Error)
		}
	}
}

// create creates a container without a network and returns its ID.
func (a *api) create(ctx context.Context, image string, command ...string) (string, error) {
	return a.createWith(ctx, nil, image, command...)
}

// createWith is create with options of the storage driver.
func (a *api) createWith(ctx context.Context, options map[string]string, image string, command ...string) (string, error) {
	type host struct {
		NetworkMode string
		StorageOpt  map[string]string `json:",omitempty"`
	}
	in := struct {
		Image      string
		Cmd        []string
		HostConfig host
	}{image, command, host{"none", options}}
	var out struct{ ID string }
	err := a.post(ctx, "/containers/create", nil, in, &out)
	return out.ID, err
}

func (a *api) start(ctx context.Context, id string) error {
	return a.post(ctx, "/containers/"+id+"/start", nil, nil, nil)
}

// wait waits until a container has ended. An exit code other than 0 is an error.
func (a *api) wait(ctx context.Context, id string) error {
	var out struct{ StatusCode int }
	err := a.post(ctx, "/containers/"+id+"/wait", nil, nil, &out)
	if err == nil && out.StatusCode != 0 {
		err = fmt.Errorf("container %s ended with %d", id, out.StatusCode)
	}
	return err
}

// logs returns what a container printed, with the frames around it.
func (a *api) logs(ctx context.Context, id string) (string, error) {
	raw, err := a.send(ctx, http.MethodGet, "/containers/"+id+"/logs", url.Values{"stdout": {"1"}, "stderr": {"1"}}, "", nil)
	return string(raw), err
}

// changes returns the answer to docker diff.
func (a *api) changes(ctx context.Context, id string) (string, error) {
	raw, err := a.send(ctx, http.MethodGet, "/containers/"+id+"/changes", nil, "", nil)
	return string(raw), err
}

func (a *api) commit(ctx context.Context, id, repo, tag string) error {
	query := url.Values{"container": {id}, "repo": {repo}, "tag": {tag}}
	return a.post(ctx, "/commit", query, nil, nil)
}

func (a *api) load(ctx context.Context, archive []byte) error {
	return a.stream(ctx, "/images/load", url.Values{"quiet": {"1"}}, archive)
}

// build builds with the classic builder, without its cache.
func (a *api) build(ctx context.Context, name string, archive []byte) error {
	query := url.Values{"t": {name}, "nocache": {"1"}, "rm": {"1"}, "networkmode": {"none"}}
	return a.stream(ctx, "/build", query, archive)
}

func (a *api) remove(ctx context.Context, id string) error {
	return a.delete(ctx, "/containers/"+id)
}

func (a *api) removeImage(ctx context.Context, name string) error {
	return a.delete(ctx, "/images/"+name)
}

func (a *api) delete(ctx context.Context, path string) error {
	_, err := a.send(ctx, http.MethodDelete, path, url.Values{"force": {"1"}}, "", nil)
	return err
}

// pruneBuilds empties BuildKit's cache.
func (a *api) pruneBuilds(ctx context.Context) error {
	return a.post(ctx, "/build/prune", url.Values{"all": {"1"}}, nil, nil)
}
