package doctor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

// DefaultHost is the address dockerd listens on by default.
const DefaultHost = "unix:///var/run/docker.sock"

// answerTimeout ends the wait for a dockerd that hangs.
const answerTimeout = 5 * time.Second

// AskEngine asks the dockerd that listens on host, a unix:// URL, for its version and
// driver.
func AskEngine(ctx context.Context, host string) (*Engine, error) {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	path, ok := strings.CutPrefix(host, "unix://")
	if !ok {
		return nil, fmt.Errorf("ask dockerd on %s: not a unix:// socket", host)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", path)
	}}}
	var version struct{ Version string }
	var info struct{ Driver string }
	if err := errors.Join(getJSON(ctx, client, "/version", &version), getJSON(ctx, client, "/info", &info)); err != nil {
		return nil, err
	}
	return &Engine{Version: version.Version, Driver: info.Driver, Deprecated: AllowsDeprecatedPlugins("")}, nil
}

// maxAnswer is the longest answer that is read.
const maxAnswer = 8 << 20

func getJSON(ctx context.Context, client *http.Client, path string, into any) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://docker"+path, nil)
	if err != nil {
		return err
	}
	answer, err := client.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("ask dockerd for %s: %s", path, answer.Status)
	}
	return json.NewDecoder(io.LimitReader(answer.Body, maxAnswer)).Decode(into)
}
