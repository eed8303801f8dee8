package dockerd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"

	"github.com/overlayzfs/overlayzfs/operator/pluginimage"
)

// enableTimeout is how long dockerd waits for an enabled plugin's socket, in seconds.
const enableTimeout = 60

// Plugin is a managed plugin as dockerd reports it.
type Plugin struct {
	ID          string
	Name        string
	Enabled     bool
	Description string
}

// Plugin looks up a plugin by its name. It fails with fault.NotFound when there is none.
func (c *Client) Plugin(ctx context.Context, name string) (Plugin, error) {
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	var answer struct {
		ID      string `json:"Id"`
		Name    string
		Enabled bool
		Config  struct{ Description string }
	}
	err := c.get(ctx, "/plugins/"+name+"/json", &answer)
	return Plugin{answer.ID, answer.Name, answer.Enabled, answer.Config.Description}, err
}

// CreatePlugin creates a plugin from the directory that `docker plugin create` takes.
func (c *Client) CreatePlugin(ctx context.Context, name, dir string) error {
	r, w := io.Pipe()
	written := make(chan error, 1)
	go func() {
		err := pluginimage.WriteTar(w, dir)
		w.CloseWithError(err)
		written <- err
	}()
	err := c.post(ctx, "/plugins/create?name="+url.QueryEscape(name), "application/x-tar", r)
	err = errors.Join(err, r.Close())
	// dockerd can answer before it sees that the tar was cut short.
	if failed := <-written; failed != nil && !errors.Is(failed, io.ErrClosedPipe) && !errors.Is(err, failed) {
		err = errors.Join(err, failed)
	}
	return err
}

// EnablePlugin starts a plugin.
func (c *Client) EnablePlugin(ctx context.Context, name string) error {
	return c.post(ctx, fmt.Sprintf("/plugins/%s/enable?timeout=%d", name, enableTimeout), "", nil)
}

// DisablePlugin stops a plugin. force stops one that is in use, and unmounts all its layers. One
// that is disabled is no error: dockerd may just have done it for a command that was killed.
func (c *Client) DisablePlugin(ctx context.Context, name string, force bool) error {
	err := c.post(ctx, fmt.Sprintf("/plugins/%s/disable?force=%t", name, force), "", nil)
	if err != nil {
		if plugin, lookErr := c.Plugin(ctx, name); lookErr == nil && !plugin.Enabled {
			return nil
		}
	}
	return err
}

// RemovePlugin removes a disabled plugin, with its directory.
func (c *Client) RemovePlugin(ctx context.Context, name string) error {
	answer, err := c.do(ctx, "DELETE", "/plugins/"+name, "", nil)
	if err != nil {
		return err
	}
	return answer.Close()
}

// UpgradePlugin replaces the program and the configuration of a disabled plugin by those of a
// directory. ID, settings and whatever the plugin keeps in its own directory stay. dockerd
// upgrades from a registry only, so it gets one for the time of the call.
func (c *Client) UpgradePlugin(ctx context.Context, name, dir string) error {
	image, err := pluginimage.Read(dir)
	if err != nil {
		return err
	}
	reference, end, err := serve(image)
	if err != nil {
		return err
	}
	defer end()
	query := "remote=" + url.QueryEscape(reference)
	var privileges json.RawMessage
	if err := c.get(ctx, "/plugins/privileges?"+query, &privileges); err != nil {
		return err
	}
	body, err := encodeBody(privileges)
	if err != nil {
		return err
	}
	return c.post(ctx, "/plugins/"+name+"/upgrade?"+query, "application/json", body)
}
