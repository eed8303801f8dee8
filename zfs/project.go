package zfs

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/overlayzfs/overlayzfs/zfs/nvlist"
)

// ProjectUsage is the usage and the limits of the files with one project ID in a dataset.
type ProjectUsage struct {
	ID          uint32
	Bytes       uint64
	Objects     uint64 // files, directories and the like
	ByteLimit   uint64 // 0 is no limit
	ObjectLimit uint64 // 0 is no limit
}

// SetProjectQuota limits the usage of the files with a project ID in a dataset; 0 is no
// limit. It returns at once. The limit applies to the usage of the last transaction group.
// It is not in the intent log, and becomes durable with the next group. (ZFS_IOC_SET_PROP
// with projectquota@ and projectobjquota@, OpenZFS 2.1 to 2.4.)
func (h *Handle) SetProjectQuota(dataset string, id uint32, bytes, objects uint64) error {
	const op = "set project quota"
	if err := CheckDatasetName(dataset); err != nil {
		return err
	}
	// The names end with "-" and an empty domain: a project has none.
	return h.change(op, iocSetProp, dataset, nvlist.List{
		{Name: fmt.Sprintf("projectquota@%x-", id), Value: []uint64{quotaProjectQuota, uint64(id), bytes}},
		{Name: fmt.Sprintf("projectobjquota@%x-", id), Value: []uint64{quotaProjectObjQuota, uint64(id), objects}},
	})
}

// ProjectUsage returns usage and limits of one project ID. All values are 0 for an ID that
// no file has. Usage is that of the last transaction group. It returns ErrUnsupported for a
// dataset that is older than the pool's project quotas. (ZFS_IOC_USERSPACE_ONE, OpenZFS 2.1
// to 2.4; mounted or not.)
func (h *Handle) ProjectUsage(dataset string, id uint32) (ProjectUsage, error) {
	if err := CheckDatasetName(dataset); err != nil {
		return ProjectUsage{}, err
	}
	usage := ProjectUsage{ID: id}
	for kind, field := range usage.fields() {
		n, errno := h.projectNumber(dataset, kind, id)
		if errno != 0 {
			return ProjectUsage{}, h.fail("get project usage", dataset, errno)
		}
		*field = n
	}
	return usage, nil
}

// fields maps each zfs_userquota_prop_t to its field.
func (u *ProjectUsage) fields() map[uint64]*uint64 {
	return map[uint64]*uint64{
		quotaProjectUsed:     &u.Bytes,
		quotaProjectQuota:    &u.ByteLimit,
		quotaProjectObjUsed:  &u.Objects,
		quotaProjectObjQuota: &u.ObjectLimit,
	}
}

func (h *Handle) projectNumber(dataset string, kind uint64, id uint32) (uint64, unix.Errno) {
	c := newCommand()
	for {
		c.setName(dataset)
		c.setUint64(offObjsetType, kind)
		c.setUint64(offGUID, uint64(id))
		_, errno := h.exchange(iocUserspaceOne, c, nil, nil)
		if errno != unix.EINTR {
			return c.uint64(offCookie), errno
		}
	}
}

// Projects returns usage and limits of every project ID that has any, by ID.
// (ZFS_IOC_USERSPACE_MANY, OpenZFS 2.1 to 2.4.)
func (h *Handle) Projects(dataset string) ([]ProjectUsage, error) {
	if err := CheckDatasetName(dataset); err != nil {
		return nil, err
	}
	all := map[uint32]*ProjectUsage{}
	for kind := range new(ProjectUsage).fields() {
		err := h.projectNumbers(dataset, kind, func(id uint32, n uint64) {
			if all[id] == nil {
				all[id] = &ProjectUsage{ID: id}
			}
			*all[id].fields()[kind] = n
		})
		if err != nil {
			return nil, err
		}
	}
	sorted := slices.SortedFunc(maps.Values(all), func(a, b *ProjectUsage) int { return cmp.Compare(a.ID, b.ID) })
	projects := make([]ProjectUsage, len(sorted))
	for i, p := range sorted {
		projects[i] = *p
	}
	return projects, nil
}

// projectNumbers calls found for each project ID's number of one kind.
func (h *Handle) projectNumbers(dataset string, kind uint64, found func(id uint32, n uint64)) error {
	const batch = 256
	var cursor uint64
	buf := make([]byte, batch*sizeUseracct)
	for {
		c := newCommand()
		c.setName(dataset)
		c.setUint64(offObjsetType, kind)
		c.setUint64(offCookie, cursor)
		filled, errno := h.exchange(iocUserspaceMany, c, nil, buf)
		if errno == unix.EINTR {
			continue
		}
		if errno != 0 {
			return h.fail("list projects of", dataset, errno)
		}
		if len(filled) < sizeUseracct {
			return nil
		}
		for ; len(filled) >= sizeUseracct; filled = filled[sizeUseracct:] {
			found(le.Uint32(filled[offUseracctRID:]), le.Uint64(filled[offUseracctSpace:]))
		}
		cursor = c.uint64(offCookie)
	}
}
