package dockerd

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/overlayzfs/overlayzfs/internal/fault"
)

// DefaultHost is the address dockerd listens on by default.
const DefaultHost = "unix:///var/run/docker.sock"

// answerTimeout ends the wait for a dockerd that hangs, when it is only asked something.
const answerTimeout = 5 * time.Second

// lookTimeout ends the wait before a change, which a busy dockerd may let wait for long.
const lookTimeout = 2 * time.Minute

// maxAnswer is the longest answer that is read.
const maxAnswer = 8 << 20

// Client asks the dockerd that listens on a socket.
type Client struct{ http *http.Client }

// Connect returns a client of the dockerd on host, a unix:// URL. It does not connect yet.
func Connect(host string) (*Client, error) {
	path, ok := strings.CutPrefix(host, "unix://")
	if !ok {
		return nil, fmt.Errorf("ask dockerd on %s: not a unix:// socket", host)
	}
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", path)
	}
	return &Client{&http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: dial}}}, nil
}

// Info is what a dockerd reports about itself.
type Info struct {
	Version string
	Driver  string
	Root    string // its data-root
	// Containerd is the socket of the containerd that it uses, or "" where it does not say.
	Containerd  string
	Running     int  // containers
	LiveRestore bool // they run on while dockerd restarts
}

// Info asks for version and settings.
func (c *Client) Info(ctx context.Context) (Info, error) { return c.info(ctx, answerTimeout) }

// AwaitInfo is Info before a change: it waits longer for a busy dockerd.
func (c *Client) AwaitInfo(ctx context.Context) (Info, error) { return c.info(ctx, lookTimeout) }

func (c *Client) info(ctx context.Context, timeout time.Duration) (Info, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	var version struct{ Version string }
	if err := c.get(ctx, "/version", &version); err != nil {
		return Info{}, err
	}
	var info struct {
		Driver, DockerRootDir string
		Containerd            struct{ Address string }
		ContainersRunning     int
		LiveRestoreEnabled    bool
	}
	err := c.get(ctx, "/info", &info)
	return Info{version.Version, info.Driver, info.DockerRootDir, info.Containerd.Address, info.ContainersRunning, info.LiveRestoreEnabled}, err
}

// CountRunning returns the number of containers that run or are paused. Unlike Info it does
// not wait for the storage driver.
func (c *Client) CountRunning(ctx context.Context) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	var running []struct{}
	err := c.get(ctx, "/containers/json", &running)
	return len(running), err
}

func (c *Client) get(ctx context.Context, path string, into any) error {
	answer, err := c.do(ctx, http.MethodGet, path, "", nil)
	if err != nil {
		return err
	}
	defer answer.Close()
	return json.NewDecoder(io.LimitReader(answer, maxAnswer)).Decode(into)
}

// post sends body, which may be nil, and waits for the end of the answer.
func (c *Client) post(ctx context.Context, path, contentType string, body io.Reader) error {
	answer, err := c.do(ctx, http.MethodPost, path, contentType, body)
	if err != nil {
		return err
	}
	defer answer.Close()
	return readProgress(answer)
}

// do makes a request and returns the body of a good answer.
func (c *Client) do(ctx context.Context, method, path, contentType string, body io.Reader) (io.ReadCloser, error) {
	request, err := http.NewRequestWithContext(ctx, method, "http://docker"+path, body)
	if err != nil {
		return nil, err
	}
	if contentType != "" {
		request.Header.Set("Content-Type", contentType)
	}
	answer, err := c.http.Do(request)
	if err != nil {
		return nil, fmt.Errorf("ask dockerd: %w", err)
	}
	if answer.StatusCode < 300 {
		return answer.Body, nil
	}
	defer answer.Body.Close()
	return nil, refusal(answer)
}

// refusal returns dockerd's own words of an answer that is an error.
func refusal(answer *http.Response) error {
	var why struct{ Message string }
	raw, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer))
	if err != nil || json.Unmarshal(raw, &why) != nil || why.Message == "" {
		why.Message = answer.Status
	}
	if answer.StatusCode == http.StatusNotFound {
		return fault.New(fault.NotFound, "dockerd: %s", why.Message)
	}
	return fmt.Errorf("dockerd: %s", why.Message)
}

// readProgress reads the stream of messages of a long request. The last of a failed one is an
// error.
func readProgress(r io.Reader) error {
	for decoder := json.NewDecoder(r); ; {
		var message struct{ Error string }
		err := decoder.Decode(&message)
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fmt.Errorf("read dockerd's answer: %w", err)
		case message.Error != "":
			return fmt.Errorf("dockerd: %s", message.Error)
		}
	}
}

// encodeBody returns a value as the body of a request.
func encodeBody(value any) (io.Reader, error) {
	raw, err := json.Marshal(value)
	return bytes.NewReader(raw), err
}
