package main

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

	"github.com/overlayzfs/overlayzfs/operator/doctor"
)

// defaultHost is where dockerd listens when nobody told it otherwise.
const defaultHost = "unix:///var/run/docker.sock"

// answerTime is how long a dockerd that hangs is waited for.
const answerTime = 5 * time.Second

// askEngine asks a running dockerd for its version and driver; nil when none
// answers.
func askEngine(ctx context.Context, host string) (*doctor.Engine, error) {
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	path, ok := strings.CutPrefix(host, "unix://")
	if !ok {
		return nil, fmt.Errorf("dockerd is asked on a unix socket, and %s is none", host)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", path)
	}}}
	var version struct{ Version string }
	var info struct{ Driver string }
	if err := errors.Join(get(ctx, client, "/version", &version), get(ctx, client, "/info", &info)); err != nil {
		return nil, err
	}
	return &doctor.Engine{Version: version.Version, Driver: info.Driver, Deprecated: doctor.AllowsDeprecatedPlugins("")}, nil
}

// maxAnswer bounds what is read of an answer.
const maxAnswer = 8 << 20

func get(ctx context.Context, client *http.Client, path string, into any) error {
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
		return fmt.Errorf("dockerd answers %s to %s", answer.Status, path)
	}
	return json.NewDecoder(io.LimitReader(answer.Body, maxAnswer)).Decode(into)
}
