package doctor

import (
	"context"

	"github.com/overlayzfs/overlayzfs/operator/dockerd"
)

// AskEngine asks the dockerd that listens on host, a unix:// URL, for its version and
// driver.
func AskEngine(ctx context.Context, host string) (*Engine, error) {
	client, err := dockerd.Connect(host)
	if err != nil {
		return nil, err
	}
	info, err := client.Info(ctx)
	if err != nil {
		return nil, err
	}
	return &Engine{Version: info.Version, Driver: info.Driver, Deprecated: AllowsDeprecatedPlugins("")}, nil
}
