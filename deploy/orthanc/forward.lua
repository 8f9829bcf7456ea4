-- The auto-forward rule of the test PACS: every instance that arrives goes to Lungwatch.
-- What Lungwatch itself sends back is not forwarded again, or two systems would talk forever.
function OnStoredInstance(instanceId, tags, metadata, origin)
   if origin['RequestOrigin'] ~= 'Lua' and origin['RemoteAet'] ~= 'LUNGWATCH' then
      SendToModality(instanceId, 'lungwatch')
   end
end
