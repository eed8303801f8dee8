package quota

import (
	"context"
	"errors"
)

func newProjects(ctx context.Context, c Config) (controller, error) {
	return nil, errors.New("project quotas: not built yet")
}
