package pluginclient

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

	"github.com/overlayzfs/overlayzfs/plugin"
)

// maxAnswer bounds the size of an answer that is not a stream.
const maxAnswer = 256 << 20

// Client calls a plugin. It never retries a call. Every method may be called
// concurrently.
type Client struct{ http *http.Client }

// New returns a client of the plugin at socket.
func New(socket string) *Client {
	var dialer net.Dialer
	return &Client{&http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, "unix", socket)
		},
		DisableCompression: true,
	}}}
}

// Close closes idle connections.
func (c *Client) Close() error {
	c.http.CloseIdleConnections()
	return nil
}

// request is the body of every call about a layer.
type request struct {
	ID         string            `json:",omitempty"`
	Parent     string            `json:",omitempty"`
	MountLabel string            `json:",omitempty"`
	StorageOpt map[string]string `json:",omitempty"`
}

// answer has the fields of all answers.
type answer struct {
	Err    string
	Dir    string
	Exists bool
	Size   int64
}

// Init starts the driver.
func (c *Client) Init(ctx context.Context, p plugin.InitParams) error {
	_, err := c.call(ctx, "GraphDriver.Init", p)
	return err
}

// Create makes a layer. o.ReadWrite chooses between the protocol's two calls.
func (c *Client) Create(ctx context.Context, id, parent string, o plugin.CreateOptions) error {
	name := "GraphDriver.Create"
	if o.ReadWrite {
		name = "GraphDriver.CreateReadWrite"
	}
	_, err := c.call(ctx, name, request{id, parent, o.MountLabel, o.StorageOpt})
	return err
}

// Get mounts a layer.
func (c *Client) Get(ctx context.Context, id, mountLabel string) (string, error) {
	a, err := c.call(ctx, "GraphDriver.Get", request{ID: id, MountLabel: mountLabel})
	return a.Dir, err
}

// Put releases one Get.
func (c *Client) Put(ctx context.Context, id string) error {
	_, err := c.call(ctx, "GraphDriver.Put", request{ID: id})
	return err
}

// Remove destroys a layer.
func (c *Client) Remove(ctx context.Context, id string) error {
	_, err := c.call(ctx, "GraphDriver.Remove", request{ID: id})
	return err
}

// Exists reports whether a layer exists.
func (c *Client) Exists(ctx context.Context, id string) (bool, error) {
	a, err := c.call(ctx, "GraphDriver.Exists", request{ID: id})
	return a.Exists, err
}

// SetLimits changes the limits of a layer that has a limit.
func (c *Client) SetLimits(ctx context.Context, id string, options map[string]string) error {
	_, err := c.call(ctx, "OverlayZFS.Limit", request{ID: id, StorageOpt: options})
	return err
}

// Diff streams a layer's tar. A Read that fails with another error than io.EOF means
// that the stream was cut.
func (c *Client) Diff(ctx context.Context, id, parent string) (io.ReadCloser, error) {
	body, err := json.Marshal(request{ID: id, Parent: parent})
	if err != nil {
		return nil, err
	}
	return c.send(ctx, "GraphDriver.Diff", "", bytes.NewReader(body))
}

// ApplyDiff unpacks a tar into a layer.
func (c *Client) ApplyDiff(ctx context.Context, id, parent string, diff io.Reader) (int64, error) {
	const name = "GraphDriver.ApplyDiff"
	body, err := c.send(ctx, name, url.Values{"id": {id}, "parent": {parent}}.Encode(), diff)
	if err != nil {
		return 0, err
	}
	a, err := decode(name, body)
	return a.Size, err
}

// call sends a request as JSON and reads the answer.
func (c *Client) call(ctx context.Context, name string, request any) (answer, error) {
	body, err := json.Marshal(request)
	if err != nil {
		return answer{}, err
	}
	response, err := c.send(ctx, name, "", bytes.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	return decode(name, response)
}

// send makes a call and returns the body of a successful answer.
func (c *Client) send(ctx context.Context, name, query string, body io.Reader) (io.ReadCloser, error) {
	target := url.URL{Scheme: "http", Host: "plugin", Path: "/" + name, RawQuery: query}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, target.String(), body)
	if err != nil {
		return nil, err
	}
	response, err := c.http.Do(request)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if response.StatusCode == http.StatusOK {
		return response.Body, nil
	}
	if _, err := decode(name, response.Body); err != nil {
		return nil, err
	}
	return nil, fmt.Errorf("%s: status %d", name, response.StatusCode)
}

// decode reads an answer. An answer with Err is an error.
func decode(name string, body io.ReadCloser) (a answer, err error) {
	data, err := io.ReadAll(io.LimitReader(body, maxAnswer))
	if err := errors.Join(err, body.Close()); err != nil {
		return a, fmt.Errorf("%s: %w", name, err)
	}
	if err := json.Unmarshal(data, &a); err != nil {
		return a, fmt.Errorf("%s: %w: %.200s", name, err, data)
	}
	if a.Err != "" {
		return a, fmt.Errorf("%s: %s", name, a.Err)
	}
	return a, nil
}
