package plugin

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
)

// maxAnswer bounds what a client reads of an answer that is not a stream.
const maxAnswer = 256 << 20

// client calls the server over its unix socket, as the engine does.
// It never repeats a call. Every method may be used concurrently.
type client struct{ http *http.Client }

// newClient returns a client of the plugin that listens at socket.
func newClient(socket string) *client {
	var dialer net.Dialer
	return &client{&http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, "unix", socket)
		},
		DisableCompression: true,
	}}}
}

// Close closes idle connections.
func (c *client) Close() error {
	c.http.CloseIdleConnections()
	return nil
}

// callError is a call that the plugin refused.
type callError struct {
	Call   string // "GraphDriver.Get"
	Status int    // the HTTP status it came with
	Text   string
}

// Error is the call and the plugin's text.
func (e *callError) Error() string { return e.Call + ": " + e.Text }

// Activate returns what the plugin implements.
func (c *client) Activate(ctx context.Context) ([]string, error) {
	var answer struct{ Implements []string }
	err := c.call(ctx, "Plugin.Activate", nil, &answer)
	return answer.Implements, err
}

// Init starts the driver.
func (c *client) Init(ctx context.Context, p InitParams) error {
	return c.call(ctx, callInit, p, nil)
}

// ReproducesExactDiffs asks for the driver's one capability.
func (c *client) ReproducesExactDiffs(ctx context.Context) (bool, error) {
	var answer capabilitiesResponse
	err := c.call(ctx, callCapabilities, layerRequest{}, &answer)
	return answer.Capabilities.ReproducesExactDiffs, err
}

// Create makes a layer; o.ReadWrite chooses between the two calls for it.
func (c *client) Create(ctx context.Context, id, parent string, o CreateOptions) error {
	name := callCreate
	if o.ReadWrite {
		name = callCreateReadWrite
	}
	return c.call(ctx, name, layerRequest{id, parent, o.MountLabel, o.StorageOpt}, nil)
}

// Get mounts a layer.
func (c *client) Get(ctx context.Context, id, mountLabel string) (string, error) {
	var answer dirResponse
	err := c.call(ctx, callGet, layerRequest{ID: id, MountLabel: mountLabel}, &answer)
	return answer.Dir, err
}

// Put gives back one Get.
func (c *client) Put(ctx context.Context, id string) error {
	return c.call(ctx, callPut, layerRequest{ID: id}, nil)
}

// Remove destroys a layer.
func (c *client) Remove(ctx context.Context, id string) error {
	return c.call(ctx, callRemove, layerRequest{ID: id}, nil)
}

// SetLimits changes the limits of a layer that has one.
func (c *client) SetLimits(ctx context.Context, id string, options map[string]string) error {
	return c.call(ctx, callLimit, layerRequest{ID: id, StorageOpt: options}, nil)
}

// Exists asks whether there is such a layer.
func (c *client) Exists(ctx context.Context, id string) (bool, error) {
	var answer existsResponse
	err := c.call(ctx, callExists, layerRequest{ID: id}, &answer)
	return answer.Exists, err
}

// Metadata asks for a layer's details.
func (c *client) Metadata(ctx context.Context, id string) (map[string]string, error) {
	var answer metadataResponse
	err := c.call(ctx, callMetadata, layerRequest{ID: id}, &answer)
	return answer.Metadata, err
}

// Status asks for the driver's details.
func (c *client) Status(ctx context.Context) ([][2]string, error) {
	var answer statusResponse
	err := c.call(ctx, callStatus, layerRequest{}, &answer)
	return answer.Status, err
}

// Cleanup ends the use of the driver.
func (c *client) Cleanup(ctx context.Context) error {
	return c.call(ctx, callCleanup, layerRequest{}, nil)
}

// Changes lists what id holds that parent does not.
func (c *client) Changes(ctx context.Context, id, parent string) ([]Change, error) {
	var answer changesResponse
	err := c.call(ctx, callChanges, layerRequest{ID: id, Parent: parent}, &answer)
	return answer.Changes, err
}

// DiffSize asks for the size of the files in a Diff.
func (c *client) DiffSize(ctx context.Context, id, parent string) (int64, error) {
	var answer sizeResponse
	err := c.call(ctx, callDiffSize, layerRequest{ID: id, Parent: parent}, &answer)
	return answer.Size, err
}

// Diff streams a layer's tar. A Read that fails other than with io.EOF says that
// the stream was cut.
func (c *client) Diff(ctx context.Context, id, parent string) (io.ReadCloser, error) {
	body, err := encode(layerRequest{ID: id, Parent: parent})
	if err != nil {
		return nil, err
	}
	return c.send(ctx, callDiff, "", body)
}

// ApplyDiff unpacks a tar into a layer.
func (c *client) ApplyDiff(ctx context.Context, id, parent string, diff io.Reader) (int64, error) {
	query := url.Values{"id": {id}, "parent": {parent}}.Encode()
	body, err := c.send(ctx, callApplyDiff, query, diff)
	if err != nil {
		return 0, err
	}
	var answer sizeResponse
	err = decodeAnswer(callApplyDiff, body, &answer)
	return answer.Size, err
}

// call sends a request as JSON and reads the answer into answer, if not nil.
func (c *client) call(ctx context.Context, name string, request, answer any) error {
	body, err := encode(request)
	if err != nil {
		return err
	}
	response, err := c.send(ctx, name, "", body)
	if err != nil {
		return err
	}
	return decodeAnswer(name, response, answer)
}

func encode(request any) (io.Reader, error) {
	if request == nil {
		return http.NoBody, nil
	}
	data, err := json.Marshal(request)
	return bytes.NewReader(data), err
}

// send returns the body of an answer whose status says success.
func (c *client) send(ctx context.Context, name, query string, body io.Reader) (io.ReadCloser, error) {
	target := url.URL{Scheme: "http", Host: "plugin", Path: "/" + name, RawQuery: query}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, target.String(), body)
	if err != nil {
		return nil, err
	}
	response, err := c.http.Do(request)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if response.StatusCode != http.StatusOK {
		return nil, statusError(name, response)
	}
	return response.Body, nil
}

// statusError reads the text of an answer whose status says failure.
func statusError(name string, response *http.Response) error {
	body, err := readAnswer(response.Body)
	if err != nil {
		return fmt.Errorf("%s: status %d: %w", name, response.StatusCode, err)
	}
	var refusal errorResponse
	if json.Unmarshal(body, &refusal) != nil || refusal.Err == "" {
		refusal.Err = string(body)
	}
	return &callError{name, response.StatusCode, refusal.Err}
}

func decodeAnswer(name string, response io.ReadCloser, answer any) error {
	body, err := readAnswer(response)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	var refusal errorResponse
	if err := json.Unmarshal(body, &refusal); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if refusal.Err != "" {
		return &callError{name, http.StatusOK, refusal.Err}
	}
	if answer == nil {
		return nil
	}
	return json.Unmarshal(body, answer)
}

func readAnswer(body io.ReadCloser) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(body, maxAnswer))
	return data, errors.Join(err, body.Close())
}
