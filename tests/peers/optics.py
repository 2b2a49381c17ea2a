"""scikit-learn's OPTICS with xi labels on points of the sphere.

stdin: {"points": [[lat, lon], ...], "min_samples": n, "max_eps_km": km or null, "xi": [x, ...]}
stdout: {"order", "reachability_km", "predecessor", "labels": one list for each xi, "seconds"}; infinite is null.
"""

import json
import math
import sys
import time

import numpy as np
from sklearn.cluster import cluster_optics_xi, compute_optics_graph

RADIUS_KM = 6371.0088

request = json.load(sys.stdin)
points = np.radians(np.array(request["points"], dtype=float))
max_eps = request["max_eps_km"]
start = time.perf_counter()
order, core, reachability, predecessor = compute_optics_graph(
    points,
    min_samples=request["min_samples"],
    max_eps=math.inf if max_eps is None else max_eps / RADIUS_KM,
    metric="haversine",
    p=2,
    metric_params=None,
    algorithm="ball_tree",
    leaf_size=30,
    n_jobs=1,
)
labels = []
for xi in request["xi"]:
    found, _ = cluster_optics_xi(
        reachability=reachability,
        predecessor=predecessor,
        ordering=order,
        min_samples=request["min_samples"],
        xi=xi,
    )
    labels.append(found.tolist())
seconds = time.perf_counter() - start

json.dump(
    {
        "order": order.tolist(),
        "reachability_km": [r * RADIUS_KM if math.isfinite(r) else None for r in reachability],
        "predecessor": predecessor.tolist(),
        "labels": labels,
        "seconds": seconds,
    },
    sys.stdout,
)
