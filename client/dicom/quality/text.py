import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

LEVELS=(0.9,0.55)
def suspected_text(grey):
    scale=1
    while min(grey.shape)>=32 and scale<=4:
        for plane in (grey,1-grey):
            if _lines(plane): return True
        if min(grey.shape)<256: break
        r,c=grey.shape[0]//2*2,grey.shape[1]//2*2
        g=grey[:r,:c]; grey=(g[::2,::2]+g[1::2,::2]+g[::2,1::2]+g[1::2,1::2])/4; scale*=2
    return False

def _lines(plane):
    stroke = plane - ndimage.grey_opening(plane, size=(11, 11))
    for level in LEVELS:
        if find(glyphs(plane, (plane>level)&(stroke>0.25))): return True
    return False

def glyphs(plane, mask):
    labels, count = ndimage.label(mask, np.ones((3,3)))
    if not count: return np.zeros((0,7))
    areas = np.bincount(labels.ravel(), minlength=count+1)
    boxes = ndimage.find_objects(labels)
    rows=[]
    for k,box in enumerate(boxes,1):
        h=box[0].stop-box[0].start; w=box[1].stop-box[1].start
        if not (5<=h<=40 and w<=3*h and areas[k]>=5): continue
        fill=areas[k]/(h*w)
        if fill<0.12: continue
        y0,y1,x0,x1=max(0,box[0].start-3),box[0].stop+3,max(0,box[1].start-3),box[1].stop+3
        local=plane[y0:y1,x0:x1]; m=labels[y0:y1,x0:x1]
        own=m==k
        near=ndimage.binary_dilation(own,np.ones((3,3)))
        ring=local[~near & (m==0)]
        if ring.size==0: continue
        value=np.median(local[own])
        contrast=value-np.median(ring)
        if contrast<0.3 or np.percentile(ring,84)-np.percentile(ring,16)>contrast: continue
        rows.append((box[0].start,box[0].stop,box[1].start,box[1].stop,fill,local[own].max(),contrast))
        if len(rows)>=1500: break
    return np.array(rows).reshape(-1,7)

def find(g, least=4):
    if len(g)<least: return False
    top,bottom,left,right,fill,value,_=g.T
    h=bottom-top
    tol=np.maximum(1,0.1*np.minimum(h[:,None],h[None]))
    alike=abs(value[:,None]-value)<=.15
    base=(abs(bottom[:,None]-bottom)<=tol)&alike
    same=(abs(top[:,None]-top)<=tol)&base
    gap=np.maximum(left[:,None],left)-np.minimum(right[:,None],right)
    small,large=np.minimum(h[:,None],h[None]),np.maximum(h[:,None],h[None])
    return _chain(same&(gap>=-1)&(gap<=1.5*small),g,least) or _chain(base&(gap>=-1)&(gap<=.7*large)&(large<=1.7*small),g,BASE)
BASE=4
def _chain(adj,g,least):
    top,bottom,left,right,fill,value,_=g.T
    h=bottom-top
    n,which=connected_components(coo_matrix(adj),directed=False)
    for k in np.flatnonzero(np.bincount(which)>=least):
        m=which==k
        w=(right-left)[m]
        if ((w>=.3*h[m])&(fill[m]<.85)).sum()<least-1: continue
        if len({(a,round(b,2)) for a,b in zip(w,fill[m])})<3: continue
        return True
    return False
