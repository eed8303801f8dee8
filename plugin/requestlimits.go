package plugin

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
)

// Refusal is the plugin's answer to a call that it refused. Its text is for a person.
type Refusal struct{ Text string }

// Error is the plugin's text.
func (r *Refusal) Error() string { return r.Text }

// maxRefusal is the longest answer that RequestLimits reads.
const maxRefusal = 1 << 20

// RequestLimits asks the plugin that listens on a socket to change the limits of a layer.
// Options are those of Driver.SetLimits. The error is a *Refusal when the plugin refuses. The
// plugin stops and undoes what it began when ctx ends.
func RequestLimits(ctx context.Context, socket, layer string, options map[string]string) error {
	body, err := json.Marshal(layerRequest{ID: layer, StorageOpt: options})
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://plugin/"+callLimit, bytes.NewReader(body))
	if err != nil {
		return err
	}
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", socket)
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: dial}}
	answer, err := client.Do(request)
	if err != nil {
		return fmt.Errorf("ask the plugin: %w", err)
	}
	defer answer.Body.Close()
	var said errorResponse
	raw, err := io.ReadAll(io.LimitReader(answer.Body, maxRefusal))
	if err == nil {
		err = json.Unmarshal(raw, &said)
	}
	switch {
	case err == nil && said.Err != "":
		return &Refusal{said.Err}
	case err == nil && answer.StatusCode != http.StatusOK:
		err = fmt.Errorf("it answers %s", answer.Status)
	}
	if err != nil {
		return fmt.Errorf("ask the plugin on %s: %w", socket, err)
	}
	return nil
}
