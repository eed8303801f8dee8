package zfs

// FeatureZILXattr is the pool feature that puts extended attributes with xattr=sa into the
// intent log (SPA_FEATURE_ZILSAXATTR of module/zcommon/zfeature_common.c, OpenZFS 2.2).
const FeatureZILXattr = "org.openzfs:zilsaxattr"

// PoolFeature reports whether a pool has a feature enabled; the feature is
// named by its GUID. Like PoolStats it must not be asked of a suspended pool.
// (ZFS_IOC_POOL_STATS, OpenZFS 2.1 to 2.4: the configuration's feature_stats
// has the enabled ones.)
func (h *Handle) PoolFeature(pool, guid string) (bool, error) {
	if err := checkPool(pool); err != nil {
		return false, err
	}
	c := newCommand()
	c.setName(pool)
	config, errno := h.query(iocPoolStats, c)
	if errno != 0 {
		return false, h.fail("get configuration", pool, errno)
	}
	enabled, _ := config.List("feature_stats")
	_, found := enabled.Uint64(guid)
	return found, nil
}
